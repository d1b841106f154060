# cglow: conditional Glow for Lua 5.4.  `make help` lists the targets.
#
# Any variable set with ?= can be given on the command line, for example
#   make CC=clang          make BUILD=/var/tmp/cglow          make OPENMP=

BUILD  ?= build
JOBS   ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PKG    ?= pkg-config
SYSTEM := $(shell uname -s)
ifeq ($(origin LUA),undefined)
LUA = $(shell command -v lua5.4 || echo lua)
endif
export LUA

# ---------------------------------------------------------------- compiling

LUA_PC       = $(shell for p in lua5.4 lua-5.4 lua; do $(PKG) --exists $$p && echo $$p && break; done)
LUA_CFLAGS  ?= $(shell $(PKG) --cflags $(LUA_PC))
LUA_LIBS    ?= $(shell $(PKG) --libs $(LUA_PC))
BLAS_CFLAGS ?= $(shell $(PKG) --cflags openblas)
BLAS_LIBS   ?= $(shell $(PKG) --libs openblas)
IMG_CFLAGS  ?= $(shell $(PKG) --cflags libpng libjpeg)
IMG_LIBS    ?= $(shell $(PKG) --libs libpng libjpeg)

ifeq ($(SYSTEM),Darwin)
# Apple's clang has no OpenMP runtime of its own: brew install libomp.
OMP_DIR       ?= $(shell brew --prefix libomp)
OPENMP        ?= -Xpreprocessor -fopenmp -I$(OMP_DIR)/include
OPENMP_LIBS   ?= -L$(OMP_DIR)/lib -lomp
SHARED        ?= -bundle -undefined dynamic_lookup
else
OPENMP        ?= -fopenmp
OPENMP_LIBS   ?= $(OPENMP)
SHARED        ?= -shared
endif

WARN   ?= -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
WERROR ?=
# One binary for every processor of its kind: no -march.  Kernels that gain
# from AVX are compiled several times over and chosen when the library loads
# (CLONES in csrc/real.h).  Neither errno nor floating-point traps are used;
# without them the compiler may vectorise.
OPT    ?= -O3 -fno-math-errno -fno-trapping-math
CFLAGS ?= -g
BASE_CFLAGS = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden $(OPENMP) \
              $(LUA_CFLAGS) $(BLAS_CFLAGS) $(IMG_CFLAGS)
CORE_LIBS   = $(LDFLAGS) $(BLAS_LIBS) $(IMG_LIBS) $(OPENMP_LIBS) -lm

SRC := $(sort $(wildcard csrc/*.c))

all: lua/cglow/core.so ## build lua/cglow/core.so
double: $(BUILD)/double/cglow/core.so ## build the double-precision core that specs use

DOUBLE = -DCGLOW_DOUBLE -DCGLOW_REFERENCE
SANITIZE = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
# One version of each kernel, so that every line is counted once.
COVERAGE = -O1 -g --coverage -DCGLOW_NO_CLONES

# $(call core,NAME,SHARED OBJECT,FLAGS): how one variant of the core is built.
# The link goes through a temporary name: a running program keeps the old file.
define core
$(2): $(SRC:csrc/%.c=$(BUILD)/obj/$(1)/%.o)
	@mkdir -p $$(@D)
	$$(CC) $(SHARED) $(3) -o $$@.new $$^ $$(CORE_LIBS)
	@mv $$@.new $$@

$(BUILD)/obj/$(1)/%.o: csrc/%.c $(BUILD)/obj/$(1)/flags
	$$(CC) $$(BASE_CFLAGS) $(3) $$(WARN) $$(WERROR) -MMD -MP -c -o $$@ $$<

# Rewritten only when the flags differ from last time; then all is compiled again.
$(BUILD)/obj/$(1)/flags: FORCE
	@mkdir -p $$(@D)
	@echo '$$(CC) $$(BASE_CFLAGS) $(3)' | cmp -s - $$@ || echo '$$(CC) $$(BASE_CFLAGS) $(3)' >$$@

-include $(wildcard $(BUILD)/obj/$(1)/*.d)
endef

$(eval $(call core,float,lua/cglow/core.so,$$(OPT) $$(CFLAGS)))
$(eval $(call core,double,$(BUILD)/double/cglow/core.so,$$(OPT) $$(CFLAGS) $(DOUBLE)))
$(eval $(call core,sanitize-float,$(BUILD)/sanitize/cglow/core.so,$(SANITIZE)))
$(eval $(call core,sanitize-double,$(BUILD)/sanitize-double/cglow/core.so,$(SANITIZE) $(DOUBLE)))
$(eval $(call core,coverage-float,$(BUILD)/coverage/cglow/core.so,$(COVERAGE)))
$(eval $(call core,coverage-double,$(BUILD)/coverage-double/cglow/core.so,$(COVERAGE) $(DOUBLE)))

# C programs that test what Lua cannot: a failing allocator, two threads.
RUNNERS := $(patsubst spec/memory/%.c,%,$(wildcard spec/memory/*_runner.c))

runners: $(RUNNERS:%=$(BUILD)/runners/%)

$(BUILD)/runners/%: spec/memory/%.c $(wildcard spec/memory/*.h)
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -O1 -g $(WARN) $(WERROR) $(LUA_CFLAGS) -o $@ $< $(LUA_LIBS) -lpthread

# -------------------------------------------------------------------- using

PARALLEL = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))
RUN = $(LUA) spec/tools/run.lua

test: packages-test ## build with warnings as errors, run every spec and lint, count
	@$(MAKE) --no-print-directory $(PARALLEL) WERROR=-Werror all double runners
	@$(RUN) $(TEST)

packages-%:
	@sh .ci/packages.sh $*

clean: ## remove everything that was built
	rm -rf $(BUILD) lua/cglow/core.so

help: ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14 | sed 's/^/  /'

.PHONY: all double runners test clean help FORCE
.DELETE_ON_ERROR:

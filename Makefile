# cglow: conditional Glow for Lua 5.4.  `make help` lists the targets.
#
# Any variable set with ?= can be given on the command line, for example
#   make CC=clang          make OPENMP=          make V=1 (show the commands)

BUILD  ?= build
JOBS   ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PKG    ?= pkg-config
SYSTEM := $(shell uname -s)
# As many jobs as processors; a make that this one calls takes its jobs from it.
ifeq ($(MAKELEVEL)$(filter -j% --jobserver%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(JOBS)
endif
ifeq ($(origin LUA),undefined)
LUA = $(shell command -v lua5.4 || echo lua)
endif
export LUA
Q = $(if $(V),,@)

# ---------------------------------------------------------------- compiling

# Where LuaRocks was told to look, before anything else.
ifdef PKG_CONFIG_DIRS
export PKG_CONFIG_PATH := $(PKG_CONFIG_DIRS):$(PKG_CONFIG_PATH)
endif
LUA_PC       = $(shell for p in lua5.4 lua-5.4 lua; do $(PKG) --exists $$p && echo $$p && break; done)
LUA_CFLAGS  ?= $(shell $(PKG) --cflags $(LUA_PC))
LUA_LIBS    ?= $(shell $(PKG) --libs $(LUA_PC))
BLAS_CFLAGS ?= $(shell $(PKG) --cflags openblas)
BLAS_LIBS   ?= $(shell $(PKG) --libs openblas)
# Pictures in TIFF and WebP where there is a library for them; TIFF= or WEBP= leaves it out.
TIFF        ?= $(shell $(PKG) --exists 'libtiff-4 >= 4.5' && echo libtiff-4)
WEBP        ?= $(shell $(PKG) --exists libwebp libwebpdemux && echo libwebp libwebpdemux)
WITH_TIFF   := $(TIFF)
WITH_WEBP   := $(WEBP)
IMG_CFLAGS  ?= $(shell $(PKG) --cflags libpng libjpeg $(WITH_TIFF) $(WITH_WEBP)) \
               $(if $(WITH_TIFF),-DHAVE_TIFF) $(if $(WITH_WEBP),-DHAVE_WEBP)
IMG_LIBS    ?= $(shell $(PKG) --libs libpng libjpeg $(WITH_TIFF) $(WITH_WEBP))

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
# (CLONES in csrc/base/real.h) or when they are called (csrc/base/isa.h).  Neither errno
# nor floating-point traps are used; without them the compiler may vectorise.
# ISO C alone forbids a·b + c in one instruction.
OPT    ?= -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast $(WIDE)
ifeq ($(shell uname -m),x86_64)
# Only said where a kernel is compiled for AVX-512: all of its 512 bits.
WIDE   ?= -mprefer-vector-width=512
endif
CFLAGS ?= -g
# LuaRocks' own flags: all but the level of optimisation.
ROCK_CFLAGS ?=
BASE_CFLAGS = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -Icsrc $(OPENMP) \
              $(LUA_CFLAGS) $(BLAS_CFLAGS) $(IMG_CFLAGS) $(filter-out -O% -fPIC,$(ROCK_CFLAGS))
CORE_LIBS   = $(LDFLAGS) $(BLAS_LIBS) $(IMG_LIBS) $(OPENMP_LIBS) -lm

COMPILER = $(shell $(CC) -dumpmachine) $(shell $(CC) -dumpversion)

# csrc/mpi is a module of its own, so that the core is not linked with MPI.
SRC     := $(sort $(shell find csrc -path csrc/mpi -prune -o -name '*.c' -print))
ifeq ($(WITH_TIFF),)
SRC     := $(filter-out csrc/image/tiff_layout.c,$(SRC))
endif
MPI_SRC := $(sort $(wildcard csrc/mpi/*.c))

# Where there is an MPI, its module is built with the core; MPICC= leaves it out.
MPICC ?= mpicc
WITH_MPI := $(if $(MPICC),$(shell command -v $(MPICC)))

all: lua/cglow/core.so lua/cglow/help/core.lua $(if $(WITH_MPI),lua/cglow/mpi.so) $(BUILD)/cglow ## build the core, and the program build/cglow
	@:
double: $(BUILD)/double/cglow/core.so $(if $(WITH_MPI),$(BUILD)/double/cglow/mpi.so) ## build the double-precision core that specs use
	@:

# The program as it is called in a checkout.
$(BUILD)/cglow: Makefile
	@mkdir -p $(@D)
	@printf '#!/bin/sh\nCGLOW_STARTER="$$0" exec %s "%s" "$$@"\n' "$(LUA)" "$(CURDIR)/lua/cglow/cli/program.lua" >$@
	@chmod 755 $@

mpi: lua/cglow/mpi.so ## build lua/cglow/mpi.so, the module cglow.mpi, with MPICC (mpicc)
	@:

DOUBLE = -DCGLOW_DOUBLE -DCGLOW_REFERENCE
SANITIZE = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
# One version of each kernel, so that every line is counted once.
COVERAGE = -O1 -g --coverage -DCGLOW_NO_CLONES

# LuaRocks hands over the Lua that it builds for, which is 5.1 where it is not told otherwise.
NEED_LUA54 = $(LUA) -e 'os.exit(_VERSION == "Lua 5.4" and 0 or 1)' || \
  { echo "cglow needs Lua 5.4, and $(LUA) is another (with LuaRocks: luarocks --lua-version 5.4 make)" >&2; exit 1; }

# $(call core,NAME,SHARED OBJECT,FLAGS): how one variant of the core is built.
# The link goes through a temporary name: a running program keeps the old file.
define core
$(2): $(SRC:csrc/%.c=$(BUILD)/obj/$(1)/%.o)
	@mkdir -p $$(@D)
	@echo "  link     $$@"
	$$(Q)$$(CC) $(SHARED) $(3) -o $$@.$$$$$$$$ $$^ $$(CORE_LIBS) && mv $$@.$$$$$$$$ $$@

$(BUILD)/obj/$(1)/%.o: csrc/%.c $(BUILD)/obj/$(1)/flags
	@mkdir -p $$(@D)
	@echo "  cc       $$@"
	$$(Q)$$(CC) $$(BASE_CFLAGS) $(3) $$(WARN) $$(WERROR) -MMD -MP -c -o $$@ $$<

# Rewritten only when the flags differ from last time; then all is compiled again.
$(BUILD)/obj/$(1)/flags: FORCE
	@$$(NEED_LUA54)
	@mkdir -p $$(@D)
	@echo '$$(strip $$(COMPILER) $$(BASE_CFLAGS) $(3))' >$$@.$$$$$$$$; \
	  cmp -s $$@.$$$$$$$$ $$@ && rm $$@.$$$$$$$$ || mv $$@.$$$$$$$$ $$@

-include $(SRC:csrc/%.c=$(BUILD)/obj/$(1)/%.d)
endef

# $(call mpi,NAME,SHARED OBJECT,FLAGS): the module cglow.mpi for a variant of the core.
define mpi
$(2): $(MPI_SRC:csrc/%.c=$(BUILD)/obj/$(1)/%.o)
	@mkdir -p $$(@D)
	@echo "  link     $$@"
	$$(Q)$$(MPICC) $(SHARED) $(3) -o $$@.$$$$$$$$ $$^ $$(LDFLAGS) && mv $$@.$$$$$$$$ $$@

$(MPI_SRC:csrc/%.c=$(BUILD)/obj/$(1)/%.o): $(BUILD)/obj/$(1)/mpi/%.o: csrc/mpi/%.c $(BUILD)/obj/$(1)/mpi/flags
	@mkdir -p $$(@D)
	@echo "  mpicc    $$@"
	$$(Q)$$(MPICC) $$(BASE_CFLAGS) $(3) $$(WARN) $$(WERROR) -MMD -MP -c -o $$@ $$<

$(BUILD)/obj/$(1)/mpi/flags: FORCE
	@mkdir -p $$(@D)
	@echo '$$(strip $$(MPICC) $$(BASE_CFLAGS) $(3))' >$$@.$$$$$$$$; \
	  cmp -s $$@.$$$$$$$$ $$@ && rm $$@.$$$$$$$$ || mv $$@.$$$$$$$$ $$@

-include $(MPI_SRC:csrc/%.c=$(BUILD)/obj/$(1)/%.d)
endef

$(eval $(call mpi,float,lua/cglow/mpi.so,$$(OPT) $$(CFLAGS)))
$(eval $(call mpi,double,$(BUILD)/double/cglow/mpi.so,$$(OPT) $$(CFLAGS) $(DOUBLE)))
$(eval $(call mpi,sanitize-float,$(BUILD)/sanitize/cglow/mpi.so,$(SANITIZE)))

$(eval $(call core,float,lua/cglow/core.so,$$(OPT) $$(CFLAGS)))
$(eval $(call core,double,$(BUILD)/double/cglow/core.so,$$(OPT) $$(CFLAGS) $(DOUBLE)))
$(eval $(call core,sanitize-float,$(BUILD)/sanitize/cglow/core.so,$(SANITIZE)))
$(eval $(call core,sanitize-double,$(BUILD)/sanitize-double/cglow/core.so,$(SANITIZE) $(DOUBLE)))
$(eval $(call core,coverage-float,$(BUILD)/coverage/cglow/core.so,$(COVERAGE)))
$(eval $(call core,coverage-double,$(BUILD)/coverage-double/cglow/core.so,$(COVERAGE) $(DOUBLE)))

# The double core with the layers of spec/template in it, which a spec tries: they are
# added to copies of the two files that list layers, as csrc/README.md says.
TEMPLATE = $(BUILD)/template
TEMPLATE_OBJ = $(filter-out %/lua/flow_layers.o %/lua/layers.o,$(SRC:csrc/%.c=$(BUILD)/obj/double/%.o))
template: $(TEMPLATE)/cglow/core.so
	@:
$(TEMPLATE)/cglow/core.so: spec/tools/add_layers.lua $(wildcard spec/template/*) csrc/lua/flow_layers.c csrc/lua/layers.c $(TEMPLATE_OBJ)
	@mkdir -p $(TEMPLATE)/cglow $(TEMPLATE)/flow
	@cp spec/template/scale.h $(TEMPLATE)/flow/
	@echo "  link     $@"
	$(Q)$(LUA) $< $(TEMPLATE)
	$(Q)$(CC) $(SHARED) $(BASE_CFLAGS) $(OPT) $(CFLAGS) $(DOUBLE) $(WARN) -Werror -I$(TEMPLATE) -o $@ \
	  spec/template/scale.c spec/template/softsign.c $(TEMPLATE)/flow_layers.c $(TEMPLATE)/layers.c $(TEMPLATE_OBJ) $(CORE_LIBS)

# The core with a model of AMX's tiles in the place of AMX, which specs try.
TILES_OBJ = $(filter-out %/base/tiles.o %/math/isa/amx.o,$(SRC:csrc/%.c=$(BUILD)/obj/float/%.o))
tiles: $(BUILD)/tiles/cglow/core.so
	@:
$(BUILD)/tiles/cglow/core.so: spec/support/tiles.c $(wildcard csrc/math/isa/*.h) $(TILES_OBJ)
	@mkdir -p $(@D)
	@echo "  link     $@"
	$(Q)$(CC) $(SHARED) $(BASE_CFLAGS) $(OPT) $(CFLAGS) $(WARN) -Werror -o $@ $< $(TILES_OBJ) $(CORE_LIBS)

# The documentation of the core, for cglow.help: an installed rock has no C sources.
lua/cglow/help/core.lua: spec/tools/core_help.lua .ldoc.ld $(wildcard csrc/lua/*.c)
	@echo "  help     $@"
	@mkdir -p $(BUILD)
	$(Q)$(LUA) $< >$(BUILD)/help.$$$$ && mv $(BUILD)/help.$$$$ $@

# C programs that test what Lua cannot: a failing allocator, two threads, guarded memory.
RUNNERS := $(patsubst spec/memory/%.c,%,$(wildcard spec/memory/*_runner.c))

runners: $(RUNNERS:%=$(BUILD)/runners/%)
	@:

$(BUILD)/runners/%: spec/memory/%.c spec/memory/runner.h spec/fuzz/target.h
	@mkdir -p $(@D)
	@echo "  link     $@"
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O1 -g $(WARN) $(WERROR) $(LUA_CFLAGS) -o $@ $(filter %.c %.o,$^) $(LUA_LIBS) -lpthread $(RUNNER_LIBS)

# One of them calls kernels, of the float core.
$(BUILD)/runners/convolution_runner: $(filter $(BUILD)/obj/float/base/%.o $(BUILD)/obj/float/math/%.o,$(SRC:csrc/%.c=$(BUILD)/obj/float/%.o))
$(BUILD)/runners/convolution_runner: private RUNNER_LIBS = $(CORE_LIBS)
$(BUILD)/runners/convolution_runner: private LUA_CFLAGS += -Icsrc -fopenmp

# A team of many threads, simulated on one processor: see spec/tools/team.lua.
team: all $(BUILD)/team.so
	@:

$(BUILD)/team.so: spec/tools/team.c
	@echo "  link     $@"
	$(Q)$(CC) $(SHARED) -fPIC -std=c11 -D_GNU_SOURCE -O2 -g $(WARN) $(WERROR) $(LUA_CFLAGS) -o $@ $<

# libFuzzer programs, one for each parser.
FUZZERS := $(patsubst spec/fuzz/%.c,%,$(wildcard spec/fuzz/fuzz_*.c))
FUZZ_CC ?= clang
FUZZ_OPT = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_CFLAGS = $(BASE_CFLAGS) $(FUZZ_OPT) $(shell $(PKG) --cflags zlib)

fuzzers: $(FUZZERS:%=$(BUILD)/fuzz/%)

$(BUILD)/fuzz/%: spec/fuzz/%.c $(SRC:csrc/%.c=$(BUILD)/obj/fuzz/%.o) $(wildcard spec/fuzz/*.h)
	@mkdir -p $(@D)
	@echo "  link     $@"
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $@ $(filter %.c %.o,$^) $(CORE_LIBS) $(LUA_LIBS) \
	  $(shell $(PKG) --libs zlib)

.PRECIOUS: $(BUILD)/obj/fuzz/%.o
$(BUILD)/obj/fuzz/%.o: csrc/%.c
	@mkdir -p $(@D)
	@echo "  cc       $@"
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

-include $(SRC:csrc/%.c=$(BUILD)/obj/fuzz/%.d)

# -------------------------------------------------------------------- using

# Packages that a job lacks are installed, or their names printed.
packages-%:
	@sh .ci/packages.sh $*

# + because make does not see a call of itself behind a variable, and gives it no jobs.
AGAIN = +@$(MAKE) --no-print-directory
# Specs call make, too, as a user does, but with the same variables.
CHECKS = env -u MAKELEVEL MAKEFLAGS='$(if $(MAKEOVERRIDES),-- $(MAKEOVERRIDES))' $(LUA) spec/tools/run.lua

demo: packages-demo ## train, predict and draw on the sample pictures: a few minutes
	$(AGAIN) all
	@$(LUA) spec/tools/demo.lua

test: packages-test ## build with warnings as errors, run every spec and lint, count
	$(AGAIN) WERROR=-Werror all double runners
	@$(CHECKS) $(TEST)

# ----------------------------------------------------------------- checking

check: packages-check ## compile anew with -Werror, clang-tidy, cppcheck, luacheck
	@rm -rf $(BUILD)/check
	$(AGAIN) BUILD=$(BUILD)/check WERROR=-Werror objects runners
	$(AGAIN) clang-tidy cppcheck luacheck

CHECKED_SRC = $(SRC) $(if $(WITH_MPI),$(MPI_SRC))
objects: $(CHECKED_SRC:csrc/%.c=$(BUILD)/obj/float/%.o) $(CHECKED_SRC:csrc/%.c=$(BUILD)/obj/double/%.o)

clang-tidy: $(SRC:%=%.tidy) $(if $(WITH_MPI),$(MPI_SRC:%=%.tidy)) $(RUNNERS:%=spec/memory/%.c.tidy)

# Open MPI's compiler says it in one way, MPICH's in another.  clang 14's own checker of
# MPI crashes over requests in a struct.
MPI_TIDY = %/module.c.tidy %/module_check.c.tidy %/module_transfers.c.tidy %/module_window.c.tidy %/transfer.c.tidy %/window.c.tidy %/world.c.tidy
$(MPI_TIDY): TIDY = --checks=-clang-analyzer-optin.mpi*
$(MPI_TIDY): MPI_CFLAGS = $(filter -I%,$(shell $(MPICC) --showme:compile 2>/dev/null || $(MPICC) -compile_info))
# What clang-tidy looks for, and why some of it is left out, is in .clang-tidy.
%.c.tidy: %.c
	@echo "  tidy     $<"
	@clang-tidy --quiet $(TIDY) --warnings-as-errors='*' $< -- $(BASE_CFLAGS) $(MPI_CFLAGS) $(WARN) 2>$(BUILD)/tidy.log || \
	  { cat $(BUILD)/tidy.log; exit 1; }

cppcheck:
	@echo "  cppcheck csrc"
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
	  --suppressions-list=.ci/cppcheck.supp --error-exitcode=1 --library=posix --library=.ci/lua.cfg -j $(JOBS) -Icsrc csrc spec/memory

luacheck:
	@echo "  luacheck"
	@$(CHECKS) --suites lint

coverage: packages-coverage ## line coverage of the C code by the specs
	$(AGAIN) all $(BUILD)/coverage/cglow/core.so $(BUILD)/coverage-double/cglow/core.so runners
	@find $(BUILD)/obj -name '*.gcda' -delete
	@CGLOW_CORE=$(BUILD)/coverage $(CHECKS) --core $(BUILD)/coverage --double $(BUILD)/coverage-double \
	  --suites float,double,runners
	@gcovr --root . --filter csrc/ --html-details $(BUILD)/coverage/index.html --print-summary \
	  --fail-under-line 90 $(BUILD)/obj/coverage-float $(BUILD)/obj/coverage-double
	@echo "line by line: $(BUILD)/coverage/index.html"

# The interpreter is not built with ASan, so its library must come first.  With
# glibc 2.36 LeakSanitizer misjudges thread-local blocks that it saw being made
# (intercept_tls_get_addr) and crashes while it looks through them.
ASAN = LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) CGLOW_CORE=$(BUILD)/sanitize \
  ASAN_OPTIONS=intercept_tls_get_addr=0:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1 \
  UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
  LSAN_OPTIONS=suppressions=$(CURDIR)/.ci/lsan.supp:print_suppressions=0

# Commands that specs run as a user does take the plain core.
sanitize: packages-sanitize ## the specs under AddressSanitizer, UBSan and LeakSanitizer
	$(AGAIN) all $(BUILD)/sanitize/cglow/core.so $(BUILD)/sanitize-double/cglow/core.so runners \
	  $(if $(WITH_MPI),$(BUILD)/sanitize/cglow/mpi.so)
	@$(CHECKS) --core $(BUILD)/sanitize --double $(BUILD)/sanitize-double --suites float,double,runners \
	  --seconds 1800 --wrap "env $(ASAN)" $(TEST)

HERE = LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' LUA_CPATH='./lua/?.so;;' OMP_WAIT_POLICY=passive

stress: packages-stress ## the specs under an aggressive collector, long runs, valgrind, kills
	$(AGAIN) all double runners
	@$(CHECKS) --suites float,double --helper spec/tools/stress.lua --seconds 1800 $(TEST)
	@$(CHECKS) --suites soak --seconds 3600
	ulimit -v 3000000 && $(HERE) $(LUA) spec/stress/random_calls.lua
	$(HERE) $(LUA) spec/stress/kills.lua
	$(BUILD)/runners/alloc_runner --all
	@$(CHECKS) --suites float --seconds 3600 --wrap "$(VALGRIND)" $(VALGRIND_SPECS)

# Libraries keep what their threads need for good: that is possibly lost, and
# only what is lost for certain counts.
VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
  --errors-for-leak-kinds=definite
# Valgrind is fifty times slower than the processor: the parsers and the tensors.
VALGRIND_SPECS = spec/tensor/ file_spec safetensors_spec image_spec image/geometry_spec

FUZZ_SECONDS ?= 60
fuzz: packages-fuzz ## fuzz each file reader for FUZZ_SECONDS (60)
	$(AGAIN) fuzzers
	@for f in $(FUZZERS); do \
	  name=$${f#fuzz_}; mkdir -p $(BUILD)/fuzz/found-$$name spec/fuzz/corpus/$$name; \
	  echo "fuzz $$name for $(FUZZ_SECONDS) s"; \
	  dict=spec/fuzz/$$name.dict; \
	  $(BUILD)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -verbosity=0 -close_fd_mask=1 \
	    $$(test -e $$dict && echo -dict=$$dict) -artifact_prefix=$(BUILD)/fuzz/ \
	    $(BUILD)/fuzz/found-$$name spec/fuzz/corpus/$$name || exit 1; \
	done

docs: packages-docs ## HTML pages of the whole interface in build/doc
	@mkdir -p $(BUILD)/doc
	@ldoc --fatalwarnings -q -c .ldoc.ld .
	@$(LUA) spec/tools/doc_pages.lua $(BUILD)/doc
	@echo "see build/doc/index.html"

PYTHON ?= /usr/bin/python3
oracle: ## write spec/golden anew with the PyTorch oracle (python3-torch)
	@$(PYTHON) spec/oracle/make_golden.py

# --------------------------------------------------------------- installing

PREFIX    ?= /usr/local
LUADIR    ?= $(PREFIX)/share/lua/5.4
LIBDIR    ?= $(PREFIX)/lib/lua/5.4
BINDIR    ?= $(PREFIX)/bin
SHAREDIR  ?= $(PREFIX)/share/cglow
DESTDIR   ?=

install: install-modules ## install below PREFIX (/usr/local) without LuaRocks
	@mkdir -p "$(DESTDIR)$(SHAREDIR)" "$(DESTDIR)$(BINDIR)"
	@cp -R data examples "$(DESTDIR)$(SHAREDIR)"
	@printf '#!/bin/sh\nexec %s -e "%s" %s "$$@"\n' "$(LUA)" "$(INSTALLED_PATHS)" "$(LUADIR)/cglow/cli/program.lua" \
	  >"$(DESTDIR)$(BINDIR)/cglow"
	@chmod 755 "$(DESTDIR)$(BINDIR)/cglow"
	@echo "installed below $(DESTDIR)$(PREFIX); try $(BINDIR)/cglow"
	@test -n "$(DESTDIR)" || "$(BINDIR)/cglow" --version >/dev/null || true # says which Lua module is missing

# What the command sets, because $(LUA) looks in its own prefix only.
INSTALLED_PATHS = package.path='$(LUADIR)/?.lua;$(LUADIR)/?/init.lua;'..package.path \
  package.cpath='$(LIBDIR)/?.so;'..package.cpath

# Also what LuaRocks calls, which installs the rest by itself.
install-modules: all
	@cd lua && find . -name '*.lua' | while read -r f; do \
	  mkdir -p "$(DESTDIR)$(LUADIR)/$${f%/*}" && install -m 644 "$$f" "$(DESTDIR)$(LUADIR)/$$f" || exit 1; \
	done
	@mkdir -p "$(DESTDIR)$(LIBDIR)/cglow"
	@for so in core $(if $(WITH_MPI),mpi); do install -m 755 lua/cglow/$$so.so "$(DESTDIR)$(LIBDIR)/cglow/$$so.so"; done
	@test -z "$(DOCDIR)" || for f in $(TEXTS); do \
	  mkdir -p "$(DESTDIR)$(DOCDIR)/$$(dirname $$f)" && install -m 644 "$$f" "$(DESTDIR)$(DOCDIR)/$$f" || exit 1; \
	done

# What luarocks doc shows, README.md first, with what that links to.
TEXTS = README.md CHANGELOG.md LICENSE data/contact_sheet.png $(wildcard */README.md examples/*.md)

uninstall: ## undo install
	rm -rf "$(DESTDIR)$(LUADIR)/cglow" "$(DESTDIR)$(LIBDIR)/cglow" "$(DESTDIR)$(SHAREDIR)" "$(DESTDIR)$(BINDIR)/cglow"

# A source rock: the last commit and the rockspec of its version, in one file.
# LuaRocks packs only what it can fetch, so it is told where the archive is.
VERSION = $(shell sed -n 's/^return "\(.*\)"/\1/p' lua/cglow/util/version.lua)
rock: packages-test ## pack a source rock of this version into build/rock
	@mkdir -p $(BUILD)/rock
	@git archive --format=tar.gz --prefix=cglow-$(VERSION)/ -o $(BUILD)/rock/cglow-$(VERSION).tar.gz HEAD
	@sed 's|url = "|&file://$(abspath $(BUILD))/rock/|' cglow-$(VERSION)-1.rockspec >$(BUILD)/rock/cglow-$(VERSION)-1.rockspec
	@cd $(BUILD)/rock && luarocks --lua-version=5.4 pack cglow-$(VERSION)-1.rockspec

clean: ## remove everything that was built
	rm -rf $(BUILD) lua/cglow/core.so lua/cglow/mpi.so lua/cglow/help/core.lua

help: ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14 | sed 's/^/  /'

.PHONY: all double template tiles mpi team runners fuzzers demo test check objects clang-tidy cppcheck luacheck coverage sanitize \
  stress fuzz docs oracle install install-modules uninstall rock clean help FORCE
.DELETE_ON_ERROR:

# cglow: conditional Glow for Lua 5.4.  `make help` lists the targets.
LUA      ?= lua5.4
BUSTED   ?= busted --lua=$(LUA)
CC       ?= cc
PKG      ?= pkg-config
BUILD    ?= build

LUA_CFLAGS  ?= $(shell $(PKG) --cflags lua5.4 2>/dev/null || $(PKG) --cflags lua-5.4 2>/dev/null || $(PKG) --cflags lua)
BLAS_CFLAGS ?= $(shell $(PKG) --cflags openblas)
BLAS_LIBS   ?= $(shell $(PKG) --libs openblas)
IMG_CFLAGS  ?= $(shell $(PKG) --cflags libpng libjpeg)
IMG_LIBS    ?= $(shell $(PKG) --libs libpng libjpeg)

WARN   ?= -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
WERROR ?=
OPT    ?= -O3 -fno-math-errno -fno-trapping-math
CFLAGS ?= -g
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -fopenmp $(OPT) $(WARN) $(WERROR) \
             $(LUA_CFLAGS) $(BLAS_CFLAGS) $(IMG_CFLAGS) $(CFLAGS)
ALL_LIBS   = $(LDFLAGS) $(BLAS_LIBS) $(IMG_LIBS) -lm
SHARED    ?= -shared

SRC := $(sort $(wildcard csrc/*.c))
HDR := $(wildcard csrc/*.h)

FLOAT_OBJ  := $(SRC:csrc/%.c=$(BUILD)/float/%.o)
DOUBLE_OBJ := $(SRC:csrc/%.c=$(BUILD)/double/%.o)

all: lua/cglow/core.so

lua/cglow/core.so: $(FLOAT_OBJ)
	$(CC) $(SHARED) -fopenmp -o $@ $^ $(ALL_LIBS)

double: $(BUILD)/double/cglow/core.so

$(BUILD)/double/cglow/core.so: $(DOUBLE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(SHARED) -fopenmp -o $@ $^ $(ALL_LIBS)

$(BUILD)/float/%.o: csrc/%.c $(HDR)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/double/%.o: csrc/%.c $(HDR)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -DCGLOW_DOUBLE -DCGLOW_REFERENCE -c -o $@ $<

clean:
	rm -rf $(BUILD) lua/cglow/core.so

.PHONY: all double clean

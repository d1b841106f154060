/* What the fuzzers of parsers in Lua share; see target.h.  A line hook counts the
 * lines that run in libFuzzer's extra counters, so that coverage guides it through
 * Lua code as it does through C. */
#ifndef CGLOW_FUZZ_LUA_H
#define CGLOW_FUZZ_LUA_H

#include <stdio.h>

#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int luaopen_cglow_core(lua_State *L);

#define LINES 65536
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t lines[LINES];

static void count_line(lua_State *L, lua_Debug *d) {
  lua_getinfo(L, "S", d);
  uintptr_t at = (uintptr_t)d->source * 31 + (uintptr_t)d->currentline * 2654435761u;
  lines[(at >> 4) % LINES]++;
}

/* The core is linked in. */
static void fuzz_open(lua_State *L) {
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_cglow_core);
  lua_setfield(L, -2, "cglow.core");
  (void)luaL_dostring(
      L, "package.path = './lua/?.lua;./lua/?/init.lua;./?.lua;' .. package.path");
  lua_settop(L, 0);
}

static void fuzz_check(const char *wrong) {
  if (wrong == NULL) return;
  fprintf(stderr, "%s\n", wrong);
  abort();
}

static char in_memory[] = "/dev/shm/cglow-fuzz-XXXXXX",
            on_disk[] = "/tmp/cglow-fuzz-XXXXXX";
static const char *fuzz_folder;

static void remove_fuzz_folder(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", fuzz_folder);
  if (system(command) != 0) perror(command);
}

static int fuzz_lua(const char *name, const uint8_t *bytes, size_t n) {
  static Target target;
  if (target.L == NULL) {
    fuzz_folder = mkdtemp(in_memory);
    if (fuzz_folder == NULL) fuzz_folder = mkdtemp(on_disk);
    if (fuzz_folder == NULL || atexit(remove_fuzz_folder) != 0) abort();
    fuzz_check(target_start(&target, name, fuzz_folder, fuzz_open));
    lua_sethook(target.L, count_line, LUA_MASKLINE, 0);
  }
  fuzz_check(target_run(&target, (const char *)bytes, n));
  return 0;
}

#endif

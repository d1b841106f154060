/* Parsers in Lua under test: a Lua state with an allocator that counts, and in it
 * spec/fuzz/targets/NAME.lua; targets/check.lua says what that is.  The fuzzers
 * (fuzz_lua.h) and spec/memory/corpus_runner.c, which replays what they found, hold
 * a target to the same: it does not raise, leaves no descriptor open, and takes no
 * more memory than it allows an input of that size. */
#ifndef CGLOW_FUZZ_TARGET_H
#define CGLOW_FUZZ_TARGET_H

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Target {
  lua_State *L; /* its stack: 1 the target's function, 2 the folder */
  size_t used, limit;
  size_t anyway, each;
} Target;

static void *target_allocate(void *ud, void *old, size_t old_size, size_t size) {
  Target *t = ud;
  if (old == NULL) old_size = 0;
  if (size > old_size && t->used - old_size + size > t->limit) return NULL;
  if (size == 0) {
    free(old);
    t->used -= old_size;
    return NULL;
  }
  void *new = realloc(old, size);
  if (new != NULL) t->used = t->used - old_size + size;
  return new;
}

static int lowest_free_descriptor(void) {
  int fd = dup(0), lowest = fd;
  if (fd >= 0) close(fd);
  return lowest;
}

/* Run on one input: NULL, or what is wrong. */
static const char *target_run(Target *t, const char *bytes, size_t n) {
  lua_settop(t->L, 2);
  int before = lowest_free_descriptor();
  lua_gc(t->L, LUA_GCCOLLECT);
  t->limit = t->used + t->anyway + t->each * n;
  lua_pushvalue(t->L, 1);
  lua_pushlstring(t->L, bytes, n);
  lua_pushvalue(t->L, 2);
  int status = lua_pcall(t->L, 2, 0, 0);
  t->limit = SIZE_MAX;
  if (status != LUA_OK) return luaL_tolstring(t->L, -1, NULL);
  lua_gc(t->L, LUA_GCCOLLECT); /* what nobody holds any more may hold no file */
  return lowest_free_descriptor() == before ? NULL : "a descriptor is left open";
}

static size_t target_bound(lua_State *L, const char *name) {
  lua_getfield(L, -1, name);
  size_t n = (size_t)luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  return n;
}

/* Load the target and run it once on nothing, without a limit: what it prepares is
 * no input's doing.  `open` opens the libraries.  NULL, or what went wrong. */
static const char *target_start(Target *t, const char *name, const char *folder,
                                void (*open)(lua_State *)) {
  *t = (Target){.limit = SIZE_MAX};
  t->L = lua_newstate(target_allocate, t);
  if (t->L == NULL) return "no memory for a Lua state";
  open(t->L);
  lua_getglobal(t->L, "require");
  lua_pushfstring(t->L, "spec.fuzz.targets.%s", name);
  if (lua_pcall(t->L, 1, 1, 0) != LUA_OK) return lua_tostring(t->L, -1);
  size_t anyway = target_bound(t->L, "anyway"), each = target_bound(t->L, "each");
  lua_getfield(t->L, -1, "run");
  lua_replace(t->L, 1);
  lua_pushstring(t->L, folder);
  t->anyway = SIZE_MAX / 2;
  const char *wrong = target_run(t, "", 0);
  t->anyway = anyway;
  t->each = each;
  return wrong;
}

#endif

/* Runs spec/memory/scenario.lua under an allocator that fails.
 *
 * For every n, the n-th allocation of a stage fails
 *   for good: it and all after it, until the stage has given up.  That must be
 *     a Lua error, after which the model works as before and no memory is held;
 *   once: Lua collects garbage on the spot and asks again.  The stage must
 *     return what it always does, so nothing that is in use may be garbage.
 * Past the 1024th, n grows by 1/64, or the run would take minutes; with --all
 * it does not (make stress). */
#include <stdint.h>

#include "runner.h"

typedef struct Allocator {
  size_t bytes;    /* allocated now */
  long calls;      /* requests for more so far */
  long fail_from;  /* the first request that fails, counted from 1; 0: none */
  long fail_count; /* how many fail from there on */
} Allocator;

static void *allocate(void *ud, void *old, size_t old_size, size_t size) {
  Allocator *a = ud;
  if (old == NULL) old_size = 0; /* then Lua tells what it is for */
  if (size == 0) {
    free(old);
    a->bytes -= old_size;
    return NULL;
  }
  if (size > old_size) {
    long n = ++a->calls - a->fail_from;
    if (a->fail_from != 0 && n >= 0 && n < a->fail_count) return NULL;
  }
  void *block = realloc(old, size);
  if (block != NULL) a->bytes += size - old_size;
  return block;
}

enum { FOR_GOOD = INT32_MAX, ONCE = 1 };

static void fail_at(Allocator *a, long n, long count) {
  a->calls = 0;
  a->fail_from = n;
  a->fail_count = count;
}

/* ------------------------------------------------------------ the stages */

typedef struct Bench {
  Allocator allocator;
  lua_State *L;
  char right[512]; /* what the stage at hand returns */
  const char *stage;
  bool all;     /* leave no n out */
  bool reached; /* did the request that should fail come? */
} Bench;

/* Stack of L: 1 the list of stages, 2 the world, 3 its check function. */
enum { STAGES = 1, WORLD, CHECK };

static int require_core(lua_State *L) {
  open_libraries(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cglow.core");
  lua_call(L, 1, 0);
  return 0;
}

static int require_all(lua_State *L) {
  open_libraries(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "scenario");
  lua_call(L, 1, 1);
  return 1;
}

static int set_stage(lua_State *L) {
  const char *folder = lua_tostring(L, 1);
  require_all(L); /* at 2 */
  lua_getfield(L, 2, "stages");
  lua_getfield(L, 2, "world");
  lua_pushstring(L, folder);
  lua_call(L, 1, 1);
  lua_getfield(L, 2, "check");
  return 3;
}

/* Put the stage's function (for stage 0, check) on the stack, the world, and
 * what prepare makes of it. */
static void prepare_stage(lua_State *L, int stage) {
  if (stage == 0) {
    lua_pushvalue(L, CHECK);
    lua_pushvalue(L, WORLD);
    lua_pushnil(L);
    return;
  }
  lua_geti(L, STAGES, stage);
  lua_getfield(L, -1, "run");
  lua_pushvalue(L, WORLD);
  if (lua_getfield(L, -3, "prepare") != LUA_TNIL) {
    lua_pushvalue(L, WORLD);
    lua_call(L, 1, 1);
  }
  lua_remove(L, -4);
}

/* Run the stage, whose `count` requests from the n-th on fail (n = 0: none).
 * Leaves its result or message on the stack, as text. */
static int call_stage(Bench *b, int stage, long n, long count) {
  prepare_stage(b->L, stage);
  fail_at(&b->allocator, n, count);
  int status = lua_pcall(b->L, 2, 1, 0);
  b->reached = b->allocator.calls >= n;
  fail_at(&b->allocator, 0, 0);
  luaL_tolstring(b->L, -1, NULL);
  return status;
}

/* Does the stage return this text, when nothing fails? */
static bool returns(Bench *b, int stage, const char *text) {
  bool ok =
      call_stage(b, stage, 0, 0) == LUA_OK && strcmp(lua_tostring(b->L, -1), text) == 0;
  if (!ok) tap_note("%s returned %s, not %s", b->stage, lua_tostring(b->L, -1), text);
  lua_settop(b->L, CHECK);
  return ok;
}

static size_t settled_bytes(Bench *b) {
  lua_gc(b->L, LUA_GCCOLLECT);
  lua_gc(b->L, LUA_GCCOLLECT); /* what the first one's finalizers let go */
  return b->allocator.bytes;
}

/* Fail the n-th request of the stage for good.  False when the stage is over
 * before, so that there is no n-th. */
static bool fail_for_good(Bench *b, int stage, long n, bool *good) {
  lua_State *L = b->L;
  int status = call_stage(b, stage, n, FOR_GOOD);
  /* A stage that ends well nevertheless had its result already. */
  *good = status == LUA_OK ? strcmp(lua_tostring(L, -1), b->right) == 0
                           : lua_type(L, -2) == LUA_TSTRING;
  if (!*good)
    tap_note("%s, n = %ld: status %d, %s", b->stage, n, status, lua_tostring(L, -1));
  lua_settop(L, CHECK);
  return b->reached;
}

/* Lua's string buffers ask but once, so an error is right there. */
static bool fail_once(Bench *b, int stage, long n) {
  int status = call_stage(b, stage, n, ONCE);
  const char *right = status == LUA_OK ? b->right : "not enough memory";
  bool good = strcmp(lua_tostring(b->L, -1), right) == 0;
  if (!good) tap_note("%s, n = %ld, once: %s", b->stage, n, lua_tostring(b->L, -1));
  lua_settop(b->L, CHECK);
  return good;
}

/* A look at the model and the checkpoint after each failure would take half of
 * the time; what is harmed does not get better by itself.  Before it, finalizers
 * run: they do not in collections that a failing request causes, and what waits for
 * them would make each slower than the one before. */
enum { LOOK_EVERY = 8 };

static bool look(Bench *b, const char *check) {
  lua_gc(b->L, LUA_GCCOLLECT);
  return returns(b, 0, check);
}

static long next(const Bench *b, long n) { return n + (b->all || n < 1024 ? 1 : n / 64); }

typedef struct Sweep {
  long tried, last;          /* how many n, and the last of them */
  bool errors, usable, once; /* was all right so far? */
  size_t bytes;              /* held at the end, after a run that succeeds */
} Sweep;

static Sweep sweep(Bench *b, int stage, const char *check) {
  Sweep s = {.errors = true, .usable = true, .once = true};
  long n = 1;
  for (bool good; fail_for_good(b, stage, n, &good); n = next(b, n)) {
    s.errors = s.errors && good;
    s.last = n;
    if (s.tried++ % LOOK_EVERY == 0) s.usable = look(b, check) && s.usable;
    s.once = s.once && fail_once(b, stage, n);
  }
  s.usable = s.usable && returns(b, 0, check) && returns(b, stage, b->right);
  s.bytes = settled_bytes(b);
  return s;
}

/* Run the stage twice, because caches fill in the first run, and note what it
 * returns. */
static bool warm_up(Bench *b, int stage) {
  bool ran = true;
  lua_geti(b->L, STAGES, stage);
  lua_getfield(b->L, -1, "name");
  b->stage = lua_tostring(b->L, -1); /* the list holds it */
  for (int i = 0; i < 2; i++) {
    lua_settop(b->L, CHECK);
    ran = call_stage(b, stage, 0, 0) == LUA_OK && ran;
    snprintf(b->right, sizeof b->right, "%s", lua_tostring(b->L, -1));
  }
  lua_settop(b->L, CHECK);
  tap(ran, "%s runs when memory suffices", b->stage);
  if (!ran) tap_note("%s", b->right);
  return ran;
}

static void test_stage(Bench *b, int stage) {
  if (!warm_up(b, stage)) return;
  char check[64];
  call_stage(b, 0, 0, 0);
  snprintf(check, sizeof check, "%s", lua_tostring(b->L, -1));
  lua_settop(b->L, CHECK);

  /* Some buffers are made only when a step is cut off: let them be made first. */
  bool good;
  for (long n = 1; fail_for_good(b, stage, n, &good); n = next(b, n) + 3) look(b, check);

  size_t before = settled_bytes(b);
  Sweep s = sweep(b, stage, check);
  tap(s.errors, "%s: %ld of %ld allocations failed for good give a Lua error", b->stage,
      s.tried, s.last);
  tap(s.usable, "%s: model and checkpoint are as before after each", b->stage);
  tap(s.once, "%s: each failed once changes no result", b->stage);
  /* A larger table of strings may stay; what every failure left would be more. */
  tap(s.bytes <= before + 128, "%s: nothing is held (%zu bytes before, %zu after)",
      b->stage, before, s.bytes);
}

/* -------------------------------------------------- opening the modules */

typedef struct Opening {
  const char *name;
  lua_CFunction open;
} Opening;

/* Leaves in a->calls how many requests that took, closing not counted. */
static bool open_state(Allocator *a, lua_CFunction open) {
  lua_State *L = lua_newstate(allocate, a);
  if (L == NULL) return false;
  lua_pushcfunction(L, open);
  bool ok = lua_pcall(L, 0, 0, 0) == LUA_OK;
  long calls = a->calls;
  lua_close(L);
  a->calls = calls;
  return ok;
}

static void test_opening(const Opening *o) {
  Allocator a = {0};
  tap(open_state(&a, o->open), "%s opens when memory suffices", o->name);
  long total = a.calls;
  bool refused = true, clean = true;
  for (long n = 1; n <= total; n++) {
    Allocator failing = {0};
    fail_at(&failing, n, FOR_GOOD);
    bool opened = open_state(&failing, o->open);
    if (opened) tap_note("%s, n = %ld: opened all the same", o->name, n);
    refused = refused && !opened;
    clean = failing.bytes == 0 && clean;
  }
  tap(refused, "%s: each of %ld allocations failed for good gives a Lua error", o->name,
      total);
  tap(clean, "%s: nothing is left of the state after each", o->name);
}

/* ------------------------------------------------------------- the whole */

static int open_descriptors(void) {
  int n = 0;
  DIR *folder = opendir("/proc/self/fd");
  if (folder == NULL) return -1;
  while (readdir(folder) != NULL) n++;
  closedir(folder);
  return n;
}

static void test_stages(const char *folder, bool all) {
  static Bench b;
  b.all = all;
  b.L = lua_newstate(allocate, &b.allocator);
  lua_pushcfunction(b.L, set_stage);
  lua_pushstring(b.L, folder);
  bool ready = lua_pcall(b.L, 1, 3, 0) == LUA_OK;
  tap(ready, "the scenario loads");
  if (!ready) tap_note("%s", lua_tostring(b.L, -1));
  int descriptors = open_descriptors();
  for (int stage = 1; ready && stage <= (int)luaL_len(b.L, STAGES); stage++)
    test_stage(&b, stage);
  tap(open_descriptors() == descriptors, "no file is left open");
  lua_close(b.L);
  tap(b.allocator.bytes == 0, "closing the state frees all (%zu bytes left)",
      b.allocator.bytes);
}

int main(int argc, char **argv) {
  setenv("OMP_NUM_THREADS", "1", 1); /* starting a team takes longer than a stage */
  char folder[FOLDER_SIZE];
  tap(make_folder(folder), "there is room for files");
  const Opening openings[] = {{"cglow.core", require_core},
                              {"all of cglow", require_all}};
  for (size_t i = 0; i < sizeof openings / sizeof *openings; i++)
    test_opening(&openings[i]);
  test_stages(folder, argc > 1 && strcmp(argv[1], "--all") == 0);
  tap(remove_folder(folder) == 4,
      "a checkpoint, three images and no temporary file are left");
  return tap_end();
}

/* Two Lua states in two threads of one process use the module at once, and each
 * gets exactly what one state alone gets. */
#include <pthread.h>

#include "runner.h"

enum { THREADS = 2, ROUNDS = 20, STAGE_LIMIT = 32 };

typedef struct Job {
  char folder[FOLDER_SIZE];
  char result[STAGE_LIMIT][512]; /* of each stage */
  int stages;
  bool ok;           /* every round returned the same */
  char message[512]; /* when not */
} Job;

/* One round of all stages; raises when one does not return what it did in the
 * first round. */
static void run_round(lua_State *L, Job *job, bool first) {
  for (int i = 0; i < job->stages; i++) {
    lua_geti(L, 1, i + 1);
    lua_getfield(L, -1, "run");
    lua_pushvalue(L, 2);
    if (lua_getfield(L, -3, "prepare") != LUA_TNIL) {
      lua_pushvalue(L, 2);
      lua_call(L, 1, 1);
    }
    lua_call(L, 2, 1);
    const char *result = lua_tostring(L, -1);
    if (first) snprintf(job->result[i], sizeof job->result[i], "%s", result);
    if (strncmp(job->result[i], result, sizeof job->result[i] - 1) != 0)
      luaL_error(L, "stage %d returned %s, not %s", i + 1, result, job->result[i]);
    lua_settop(L, 2);
  }
}

static int run_rounds(lua_State *L) {
  Job *job = lua_touserdata(L, 1);
  int rounds = (int)lua_tointeger(L, 2);
  lua_settop(L, 0);
  open_libraries(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "scenario");
  lua_call(L, 1, 1);
  lua_getfield(L, 1, "world");
  lua_pushstring(L, job->folder);
  lua_call(L, 1, 1);
  lua_getfield(L, 1, "stages");
  lua_replace(L, 1);
  job->stages = (int)luaL_len(L, 1);
  luaL_argcheck(L, job->stages <= STAGE_LIMIT, 1, "too many stages");
  for (int i = 0; i < rounds; i++) run_round(L, job, i == 0);
  return 0;
}

static void run_job(Job *job, int rounds) {
  lua_State *L = luaL_newstate();
  if (L == NULL) return;
  lua_pushcfunction(L, run_rounds);
  lua_pushlightuserdata(L, job);
  lua_pushinteger(L, rounds);
  job->ok = lua_pcall(L, 2, 0, 0) == LUA_OK;
  if (!job->ok) snprintf(job->message, sizeof job->message, "%s", lua_tostring(L, -1));
  lua_close(L);
}

static void *thread(void *job) {
  run_job(job, ROUNDS);
  return NULL;
}

static bool same_results(const Job *a, const Job *b) {
  bool same = a->stages == b->stages;
  for (int i = 0; same && i < a->stages; i++)
    same = strcmp(a->result[i], b->result[i]) == 0;
  return same;
}

int main(void) {
  static Job alone, jobs[THREADS];
  pthread_t threads[THREADS];
  tap(make_folder(alone.folder), "there is room for files");
  run_job(&alone, 1);
  tap(alone.ok, "one state alone runs the scenario");
  if (!alone.ok) tap_note("%s", alone.message);

  bool started = true;
  for (int i = 0; i < THREADS; i++)
    started = make_folder(jobs[i].folder) &&
              pthread_create(&threads[i], NULL, thread, &jobs[i]) == 0 && started;
  tap(started, "%d threads start", THREADS);
  for (int i = 0; started && i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    tap(jobs[i].ok, "thread %d gets the same in each of %d rounds", i + 1, ROUNDS);
    if (!jobs[i].ok) tap_note("%s", jobs[i].message);
    tap(same_results(&alone, &jobs[i]), "thread %d gets what one state alone gets",
        i + 1);
    remove_folder(jobs[i].folder);
  }
  remove_folder(alone.folder);
  return tap_end();
}

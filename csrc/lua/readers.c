/* cglow.core.readers: threads that call a Lua function ahead of time, each in a Lua state
 * of its own.
 *
 * What is asked for waits in a table of jobs for a thread that takes the oldest; what a
 * thread gets waits there as a parcel.  Whoever takes a job that no thread has begun gets
 * nothing and does it himself, so that nobody waits for threads that are busy; one that
 * has begun is waited for. */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/threads.h"
#include "lua/class.h"
#include "lua/noreturn.h"
#include "lua/open.h"
#include "lua/parcel.h"

#define READERS_TYPE "cglow.Readers"
#define PARCEL_TYPE "cglow.core.Parcel"
#define MOST_READERS 64
#define MOST_ASKED 65536
#define READER_STACK ((size_t)2 << 20)
/* Bytes of results that nobody has taken, above which no thread begins another one. */
#define MOST_HELD ((size_t)256 << 20)

/* A host may be linked without the file of Lua that this is in. */
extern void luaL_openlibs(lua_State *L) __attribute__((weak));

typedef enum JobState { FREE, WAITING, RUNNING, READY, LOST } JobState;

typedef struct Job {
  JobState state;
  lua_Integer index;
  unsigned long turn; /* by which the oldest is known */
  Parcel parcel;      /* READY: the result; LOST: why there is none */
} Job;

typedef struct Pool {
  pthread_mutex_t lock;
  pthread_cond_t wake; /* something to do */
  pthread_cond_t done; /* something was done */
  bool stop;
  pid_t process; /* a child made by fork has none of the threads */
  unsigned long turn;
  size_t held; /* bytes of results */
  char *chunk, *argument;
  size_t chunk_size, argument_size;
  int count, most;
  pthread_t thread[MOST_READERS];
  Job job[]; /* most of them */
} Pool;

typedef struct Readers {
  Pool *pool; /* NULL once closed */
} Readers;

/* ---- a thread ---- */

static int open_state(lua_State *L) {
  const Pool *p = lua_touserdata(L, 1);
  if (luaL_openlibs == NULL) luaL_error(L, "the host has no luaL_openlibs");
  luaL_openlibs(L);
  if (luaL_loadbufferx(L, p->chunk, p->chunk_size, "=readers", "t") != LUA_OK)
    lua_error(L);
  lua_pushlstring(L, p->argument, p->argument_size);
  lua_call(L, 1, 1);
  luaL_checktype(L, -1, LUA_TFUNCTION);
  return 1;
}

/* The function at 1 of the index at 2, into the parcel at 3. */
static int produce(lua_State *L) {
  Parcel *parcel = lua_touserdata(L, 3);
  lua_settop(L, 2);
  lua_call(L, 1, 1);
  parcel_pack(L, 1, parcel);
  return 0;
}

static int pack_text(lua_State *L) {
  luaL_tolstring(L, 1, NULL); /* errors may be tables */
  return parcel_pack(L, -1, lua_touserdata(L, 2)), 0;
}

/* The message on top of the stack, which goes; nothing when there is no memory for it: of
 * which an error outside of the call would end the process. */
static void keep_message(lua_State *L, Parcel *parcel) {
  parcel_free(parcel);
  if (L == NULL) return;
  lua_pushcfunction(L, pack_text);
  lua_pushvalue(L, -2);
  lua_pushlightuserdata(L, parcel);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) lua_pop(L, 1), parcel_free(parcel);
  lua_pop(L, 1);
}

static JobState run(lua_State *L, bool opened, lua_Integer index, Parcel *parcel) {
  if (opened) {
    lua_pushcfunction(L, produce);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, index);
    lua_pushlightuserdata(L, parcel);
    if (lua_pcall(L, 3, 0, 0) == LUA_OK) return READY;
  } else if (L != NULL) {
    lua_pushvalue(L, 1); /* why it could not be opened */
  }
  keep_message(L, parcel);
  return LOST;
}

static Job *oldest(Pool *p, JobState state) {
  Job *found = NULL;
  for (int i = 0; i < p->most; i++)
    if (p->job[i].state == state && (found == NULL || p->job[i].turn < found->turn))
      found = &p->job[i];
  return found;
}

/* With the lock: the next job, or NULL when all shall end. */
static Job *next_job(Pool *p) {
  for (;;) {
    if (p->stop) return NULL;
    Job *job = p->held <= MOST_HELD ? oldest(p, WAITING) : NULL;
    if (job != NULL) return job;
    pthread_cond_wait(&p->wake, &p->lock);
  }
}

static void *work(void *pool) {
  Pool *p = pool;
  parallel_stay_alone();
  lua_State *L = luaL_newstate();
  bool opened = false;
  if (L != NULL) {
    lua_pushcfunction(L, open_state);
    lua_pushlightuserdata(L, p);
    opened = lua_pcall(L, 1, 1, 0) == LUA_OK;
  }
  pthread_mutex_lock(&p->lock);
  for (Job *job; (job = next_job(p)) != NULL;) {
    Parcel parcel = {0};
    job->state = RUNNING;
    pthread_mutex_unlock(&p->lock);
    JobState state = run(L, opened, job->index, &parcel);
    pthread_mutex_lock(&p->lock);
    job->parcel = parcel;
    job->state = state;
    p->held += parcel.size;
    pthread_cond_broadcast(&p->done);
  }
  pthread_mutex_unlock(&p->lock);
  if (L != NULL) lua_close(L);
  return NULL;
}

/* ---- the pool ---- */

static void let_go(Pool *p, Job *job) {
  p->held -= job->parcel.size;
  parcel_free(&job->parcel);
  job->state = FREE;
}

static void pool_free(Pool *p) {
  for (int i = 0; i < p->most; i++) parcel_free(&p->job[i].parcel);
  pthread_cond_destroy(&p->done);
  pthread_cond_destroy(&p->wake);
  pthread_mutex_destroy(&p->lock);
  free(p->chunk);
  free(p->argument);
  free(p);
}

/* Wait for what is being done, and end. */
static void pool_close(Pool *p) {
  if (p->process != getpid()) return; /* its lock may be held by nobody that is here */
  pthread_mutex_lock(&p->lock);
  p->stop = true;
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
  for (int i = 0; i < p->count; i++) pthread_join(p->thread[i], NULL);
  pool_free(p);
}

static char *copy(const char *text, size_t size) {
  char *to = malloc(size + 1);
  if (to != NULL) memcpy(to, text, size + 1);
  return to;
}

static Pool *pool_new(int most, const char *chunk, size_t chunk_size,
                      const char *argument, size_t argument_size) {
  Pool *p = calloc(1, sizeof *p + (size_t)most * sizeof *p->job);
  if (p == NULL) return NULL;
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->done, NULL);
  p->process = getpid();
  p->most = most;
  p->chunk_size = chunk_size;
  p->argument_size = argument_size;
  p->chunk = copy(chunk, chunk_size);
  p->argument = copy(argument, argument_size);
  if (p->chunk != NULL && p->argument != NULL) return p;
  pool_free(p);
  return NULL;
}

/* Signals are for the threads that there were before. */
static void start_threads(Pool *p, int count) {
  sigset_t all, before;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return;
  pthread_attr_setstacksize(&attributes, READER_STACK);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (p->count < count &&
         pthread_create(&p->thread[p->count], &attributes, work, p) == 0)
    p->count++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
}

/* ---- seen from Lua ---- */

/*** @submodule cglow.core */

static int check_count(lua_State *L, int arg, int most) {
  lua_Integer n = luaL_checkinteger(L, arg);
  if (n < 1 || n > most)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "1 to %d expected, got %I", most, (LUAI_UACINT)n));
  return (int)n;
}

/*** Threads that call a function ahead of time, each in a Lua state of its own.
@function readers
@int count how many threads, from 1 to 64
@int most how many results may be asked for and not yet taken, from 1 to 65536
@string chunk Lua source, run once in each state, that returns a function from an integer
to a value: a number, string, boolean or tensor, or a table of these
@string[opt=""] argument what the chunk gets
@treturn[1] Readers with `ask(i)`, `ready(i)`, `take(i)` and `close()`
@treturn[2] nil when the system gives no thread
@treturn[2] string message */
static int readers_new(lua_State *L) {
  size_t chunk_size, argument_size;
  int count = check_count(L, 1, MOST_READERS), most = check_count(L, 2, MOST_ASKED);
  const char *chunk = luaL_checklstring(L, 3, &chunk_size);
  const char *argument = luaL_optlstring(L, 4, "", &argument_size);
  Readers *r = lua_newuserdatauv(L, sizeof *r, 0);
  r->pool = NULL;
  luaL_setmetatable(L, READERS_TYPE);
  r->pool = pool_new(most, chunk, chunk_size, argument, argument_size);
  if (r->pool == NULL) return luaL_error(L, "not enough memory");
  start_threads(r->pool, count);
  if (r->pool->count > 0) return 1;
  luaL_pushfail(L);
  lua_pushliteral(L, "the system gives no thread to read ahead");
  return 2;
}

/* The pool, unless it is closed or another process's. */
static Pool *open_pool(lua_State *L) {
  Readers *r = luaL_checkudata(L, 1, READERS_TYPE);
  return r->pool != NULL && r->pool->process == getpid() ? r->pool : NULL;
}

static Job *find(Pool *p, lua_Integer index) {
  for (int i = 0; i < p->most; i++)
    if (p->job[i].state != FREE && p->job[i].index == index) return &p->job[i];
  return NULL;
}

/* A job's place: a free one, or that of the oldest result, which nobody seems to want. */
static Job *place_for(Pool *p) {
  Job *job = oldest(p, FREE);
  if (job == NULL && (job = oldest(p, READY)) == NULL) job = oldest(p, LOST);
  if (job != NULL) let_go(p, job);
  return job;
}

/*** Ask for f(i), unless that was done.
@function Readers:ask
@int i
@treturn boolean false when it was not taken on: too much is asked for, or the readers are
closed, or another process's */
static int readers_ask(lua_State *L) {
  Pool *p = open_pool(L);
  lua_Integer index = luaL_checkinteger(L, 2);
  bool taken_on = false;
  if (p != NULL) {
    pthread_mutex_lock(&p->lock);
    Job *job = find(p, index);
    taken_on = job != NULL;
    if (!taken_on && (job = place_for(p)) != NULL) {
      job->state = WAITING;
      job->index = index;
      job->turn = ++p->turn;
      taken_on = true;
      pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
  }
  lua_pushboolean(L, taken_on);
  return 1;
}

/* With the lock: move a job's result out, waiting for one that is being made. */
static JobState collect(Pool *p, lua_Integer index, Parcel *to) {
  Job *job = find(p, index);
  if (job == NULL) return FREE;
  while (job->state == RUNNING) pthread_cond_wait(&p->done, &p->lock);
  JobState state = job->state;
  p->held -= job->parcel.size;
  *to = job->parcel;
  job->parcel = (Parcel){0};
  job->state = FREE;
  pthread_cond_broadcast(&p->wake);
  return state;
}

/*** f(i), if it was asked for and a thread has begun with it, which is then waited for.
@function Readers:take
@int i
@treturn[1] f(i)
@treturn[2] nil
@treturn[2] ?string why there is none, where a thread has failed to make it */
static int readers_take(lua_State *L) {
  luaL_checkudata(L, 1, READERS_TYPE);
  lua_Integer index = luaL_checkinteger(L, 2);
  Parcel *parcel = lua_newuserdatauv(L, sizeof *parcel, 0);
  *parcel = (Parcel){0};
  luaL_setmetatable(L, PARCEL_TYPE);
  Pool *p = open_pool(L); /* now that no finalizer comes any more, which might close it */
  if (p == NULL) return luaL_pushfail(L), 1;
  pthread_mutex_lock(&p->lock);
  JobState state = collect(p, index, parcel);
  pthread_mutex_unlock(&p->lock);
  bool any = parcel->bytes != NULL;
  if (state != READY) luaL_pushfail(L);
  if (any) parcel_unpack(L, parcel);
  parcel_free(parcel);
  return state != READY && any ? 2 : 1;
}

/*** Is f(i) there to be taken, or why there is none?
@function Readers:ready
@int i
@treturn boolean false while it is waited for, too */
static int readers_ready(lua_State *L) {
  Pool *p = open_pool(L);
  lua_Integer index = luaL_checkinteger(L, 2);
  bool ready = false;
  if (p != NULL) {
    pthread_mutex_lock(&p->lock);
    const Job *job = find(p, index);
    ready = job != NULL && (job->state == READY || job->state == LOST);
    pthread_mutex_unlock(&p->lock);
  }
  lua_pushboolean(L, ready);
  return 1;
}

static int free_parcel(lua_State *L) {
  return parcel_free(luaL_checkudata(L, 1, PARCEL_TYPE)), 0;
}

/*** End the threads, once they are done with what they have begun.
@function Readers:close */
static int readers_close(lua_State *L) {
  Readers *r = luaL_checkudata(L, 1, READERS_TYPE);
  Pool *p = r->pool;
  r->pool = NULL;
  if (p != NULL) pool_close(p);
  return 0;
}

static const luaL_Reg methods[] = {{"ask", readers_ask},
                                   {"take", readers_take},
                                   {"ready", readers_ready},
                                   {"close", readers_close},
                                   {"__gc", readers_close},
                                   {"__close", readers_close},
                                   {NULL, NULL}};

static const luaL_Reg parcel_methods[] = {{"__gc", free_parcel}, {NULL, NULL}};

void open_readers(lua_State *L) {
  class_new(L, READERS_TYPE, methods);
  class_new(L, PARCEL_TYPE, parcel_methods);
  lua_pushcfunction(L, readers_new);
  lua_setfield(L, -2, "readers");
}

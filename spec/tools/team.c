/* A team of threads on one processor: what OpenMP's library would do with n threads, one
 * after the other, each on a stack of its own and with a clock of its own.
 *
 * Loaded before the core (LD_PRELOAD), it takes the place of the few entries of OpenMP's
 * library that compiled loops call.  A thread runs until it comes to a barrier, to the
 * next share of a loop, or to its end; then the one whose clock is furthest back goes on,
 * so that loops that are shared out as threads come are shared out as n processors would.
 * Clocks are the processor's own for this thread, so other programs hardly disturb them.
 *
 * A phase is what lies between two barriers.  Of each it notes how long the team would be
 * busy together, how long the last one of it, and how many of them had anything to do;
 * and what was done by one thread alone between two teams.  It says nothing of memory
 * that n processors would share. */
#include <dlfcn.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#define MOST 256
#define STACK ((size_t)2 << 20)
#define LOOPS 64

typedef struct Loop {
  bool begun;
  unsigned long long next, end, step, chunk;
  bool guided;
} Loop;

typedef struct Fiber {
  ucontext_t context;
  char *stack;
  double clock, phase; /* seconds: since the team began; in this phase */
  int loops;           /* shared out so far */
  enum { READY, AT_BARRIER, ENDED } state;
} Fiber;

typedef struct Note {
  int team; /* threads; 1: alone */
  int busy;
  double sum, most;
  int label;
  size_t where; /* the team's loop: its place in the core's file */
} Note;

static Fiber fiber[MOST];
static Loop loop[LOOPS], alone_loop;
static int team = 1, me = 0, label = 0, max_threads = 1;
static bool in_team;
static ucontext_t scheduler;
static void (*body)(void *);
static void *body_data;
static double resumed, overhead, alone_since;

static Note *notes;
static size_t count, room;
static bool noting;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Where the running team's loop lies in the file that it was loaded from. */
static size_t where(void) {
  Dl_info info;
  void *address;
  memcpy(&address, &body, sizeof address);
  return dladdr(address, &info) ? (size_t)((char *)address - (char *)info.dli_fbase) : 0;
}

static void note(int threads, int busy, double sum, double most) {
  if (!noting) return;
  if (count == room) {
    room = room ? 2 * room : 4096;
    notes = realloc(notes, room * sizeof *notes);
    if (notes == NULL) abort();
  }
  notes[count++] = (Note){threads, busy, sum, most, label, threads > 1 ? where() : 0};
}

static void note_alone(void) {
  double t = now() - alone_since - overhead;
  note(1, 1, t > 0 ? t : 0, t > 0 ? t : 0);
}

/* The running thread's time so far counts, and another one goes on. */
static void pause_me(void) {
  Fiber *f = &fiber[me];
  double t = now() - resumed - overhead;
  if (t > 0) f->clock += t, f->phase += t;
  swapcontext(&f->context, &scheduler);
}

static void run_body(void) {
  body(body_data);
  fiber[me].state = ENDED;
  pause_me();
}

/* All have come to a barrier, or to the end. */
static void end_phase(int n) {
  double sum = 0, most = 0, last = 0;
  int busy = 0;
  for (int i = 0; i < n; i++) {
    sum += fiber[i].phase;
    if (fiber[i].phase > most) most = fiber[i].phase;
    if (fiber[i].clock > last) last = fiber[i].clock;
  }
  for (int i = 0; i < n; i++) {
    if (fiber[i].phase > 0.15 * most) busy++;
    fiber[i].clock = last;
    fiber[i].phase = 0;
    if (fiber[i].state == AT_BARRIER) fiber[i].state = READY;
  }
  note(n, busy, sum, most);
}

static int furthest_back(int n) {
  int best = -1;
  for (int i = 0; i < n; i++)
    if (fiber[i].state == READY && (best < 0 || fiber[i].clock < fiber[best].clock))
      best = i;
  return best;
}

static void begin_fiber(Fiber *f) {
  if (f->stack == NULL) {
    f->stack =
        mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (f->stack == MAP_FAILED) abort();
  }
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack;
  f->context.uc_stack.ss_size = STACK;
  f->context.uc_link = &scheduler;
  makecontext(&f->context, run_body, 0);
  f->clock = f->phase = 0;
  f->loops = 0;
  f->state = READY;
}

void GOMP_parallel(void (*fn)(void *), void *data, unsigned threads, unsigned flags);
void GOMP_parallel(void (*fn)(void *), void *data, unsigned threads, unsigned flags) {
  (void)flags;
  int n = threads ? (int)threads : max_threads;
  if (n <= 1 || in_team || n > MOST) {
    int outer = team, self = me;
    Loop running = alone_loop; /* that of a loop around this */
    team = 1, me = 0;
    fn(data);
    team = outer, me = self;
    alone_loop = running;
    return;
  }
  note_alone();
  in_team = true;
  team = n;
  body = fn;
  body_data = data;
  memset(loop, 0, sizeof loop);
  for (int i = 0; i < n; i++) begin_fiber(&fiber[i]);
  for (;;) {
    int i = furthest_back(n);
    if (i < 0) {
      end_phase(n);
      if (furthest_back(n) < 0) break;
      continue;
    }
    me = i;
    resumed = now();
    swapcontext(&scheduler, &fiber[i].context);
  }
  team = 1, me = 0;
  in_team = false;
  alone_since = now();
}

void GOMP_barrier(void);
void GOMP_barrier(void) {
  if (team == 1) return;
  fiber[me].state = AT_BARRIER;
  pause_me();
}

/* One at a time is one at a time here; whose turn it is depends on the clocks. */
void GOMP_critical_name_start(void **name);
void GOMP_critical_name_start(void **name) {
  (void)name;
  if (team > 1) pause_me();
}
void GOMP_critical_name_end(void **name);
void GOMP_critical_name_end(void **name) { (void)name; }

/* ---- loops that are shared out as threads come ---- */

static bool next_share(unsigned long long *first, unsigned long long *last) {
  if (team > 1) pause_me();
  Loop *l = team > 1 ? &loop[(fiber[me].loops - 1) % LOOPS] : &alone_loop;
  if (l->next >= l->end) return false;
  unsigned long long left = (l->end - l->next + l->step - 1) / l->step, n = l->chunk;
  if (l->guided) {
    unsigned long long share = (left + (unsigned)team - 1) / (unsigned)team;
    if (share > n) n = share;
  }
  if (n > left) n = left;
  *first = l->next;
  *last = l->next += n * l->step;
  if (*last > l->end) *last = l->end;
  return true;
}

static bool begin_loop(unsigned long long start, unsigned long long end,
                       unsigned long long step, unsigned long long chunk, bool guided,
                       unsigned long long *first, unsigned long long *last) {
  Loop *l = team > 1 ? &loop[fiber[me].loops++ % LOOPS] : &alone_loop;
  if (!l->begun || team == 1)
    *l = (Loop){true, start, end, step, chunk ? chunk : 1, guided};
  return next_share(first, last);
}

#define ULL unsigned long long
#define ULL_START(name, guided)                                                        \
  bool name(bool up, ULL start, ULL end, ULL step, ULL chunk, ULL *first, ULL *last);  \
  bool name(bool up, ULL start, ULL end, ULL step, ULL chunk, ULL *first, ULL *last) { \
    if (!up) abort();                                                                  \
    return begin_loop(start, end, step, chunk, guided, first, last);                   \
  }
#define ULL_NEXT(name)              \
  bool name(ULL *first, ULL *last); \
  bool name(ULL *first, ULL *last) { return next_share(first, last); }
#define LONG_START(name, guided)                                                        \
  bool name(long start, long end, long step, long chunk, long *first, long *last);      \
  bool name(long start, long end, long step, long chunk, long *first, long *last) {     \
    ULL f, l;                                                                           \
    bool any = begin_loop((ULL)start, (ULL)end, (ULL)step, (ULL)chunk, guided, &f, &l); \
    if (any) *first = (long)f, *last = (long)l;                                         \
    return any;                                                                         \
  }
#define LONG_NEXT(name)                         \
  bool name(long *first, long *last);           \
  bool name(long *first, long *last) {          \
    ULL f, l;                                   \
    bool any = next_share(&f, &l);              \
    if (any) *first = (long)f, *last = (long)l; \
    return any;                                 \
  }

ULL_START(GOMP_loop_ull_nonmonotonic_dynamic_start, false)
ULL_START(GOMP_loop_ull_nonmonotonic_guided_start, true)
ULL_NEXT(GOMP_loop_ull_nonmonotonic_dynamic_next)
ULL_NEXT(GOMP_loop_ull_nonmonotonic_guided_next)
LONG_START(GOMP_loop_nonmonotonic_dynamic_start, false)
LONG_START(GOMP_loop_nonmonotonic_guided_start, true)
LONG_NEXT(GOMP_loop_nonmonotonic_dynamic_next)
LONG_NEXT(GOMP_loop_nonmonotonic_guided_next)

void GOMP_loop_end(void);
void GOMP_loop_end(void) { GOMP_barrier(); }
void GOMP_loop_end_nowait(void);
void GOMP_loop_end_nowait(void) {}

/* ---- who asks ---- */

int omp_get_thread_num(void);
int omp_get_thread_num(void) { return me; }
int omp_get_num_threads(void);
int omp_get_num_threads(void) { return team; }
int omp_get_max_threads(void);
int omp_get_max_threads(void) { return max_threads; }
int omp_in_parallel(void);
int omp_in_parallel(void) { return in_team; }
void omp_set_num_threads(int n);
void omp_set_num_threads(int n) { max_threads = n; }

/* ---- Lua ---- */

/* What follows belongs to part i; what came before ends at time t. */
static void change_label(int i, double t) {
  double spent = t - alone_since - overhead;
  if (noting) note(1, 1, spent > 0 ? spent : 0, spent > 0 ? spent : 0);
  label = i;
}

/* label(i): what follows belongs to part i. */
static int set_label(lua_State *L) {
  change_label((int)luaL_checkinteger(L, 1), now());
  alone_since = now();
  return 0;
}

/* A method of an object, upvalues 1 and 2, whose time belongs to part upvalue 3, and what
 * follows to part upvalue 4: called on whatever stands for the object.  What it takes to
 * change labels is nobody's. */
static int call_spied(lua_State *L) {
  change_label((int)lua_tointeger(L, lua_upvalueindex(3)), now());
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_replace(L, 1);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  alone_since = now();
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  change_label((int)lua_tointeger(L, lua_upvalueindex(4)), now());
  alone_since = now();
  return lua_gettop(L);
}

/* spy(object, method, i, rest) → a method */
static int spy(lua_State *L) {
  luaL_checkany(L, 4);
  lua_settop(L, 4);
  lua_pushcclosure(L, call_spied, 4);
  return 1;
}

static int begin(lua_State *L) {
  (void)L;
  double best = 1;
  for (int i = 0; i < 1000; i++) {
    double t = now(), d = now() - t;
    if (d < best) best = d;
  }
  overhead = best;
  count = 0;
  noting = true;
  label = 0;
  alone_since = now();
  return 0;
}

/* finish() → for each phase {label, threads, busy, sum, most, where} in one flat list */
static int finish(lua_State *L) {
  note_alone();
  noting = false;
  lua_createtable(L, (int)(6 * count), 0);
  for (size_t i = 0; i < count; i++) {
    const Note *n = &notes[i];
    double v[6] = {n->label, n->team, n->busy, n->sum, n->most, (double)n->where};
    for (int k = 0; k < 6; k++) {
      lua_pushnumber(L, v[k]);
      lua_rawseti(L, -2, (lua_Integer)(6 * i) + k + 1);
    }
  }
  return 1;
}

int luaopen_team(lua_State *L);
int luaopen_team(lua_State *L) {
  static const luaL_Reg functions[] = {{"label", set_label},
                                       {"spy", spy},
                                       {"begin", begin},
                                       {"finish", finish},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

/* Threads: how many kernels use, and BLAS kept to one. */
#include "base/threads.h"

#include <cblas.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Only OpenBLAS has these; with another BLAS they are absent and BLAS's own
 * variables (MKL_NUM_THREADS, …) decide. */
extern void openblas_set_num_threads(int) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));

static atomic_int threads = 0;

static pthread_mutex_t blas_lock = PTHREAD_MUTEX_INITIALIZER;
static int blas_depth = 0;
static int blas_saved = 1;

/* ---- how many the system gives ---- */

/* OpenMP's library ends the process when it cannot make a thread.  So before more are
 * used than ever were, as many are made here, all at once, and let go. */

static pthread_mutex_t trial_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int proven = 1;         /* so many threads were made at once */
static atomic_int asked = 1;          /* when this many had been asked for */
static atomic_size_t small_stack = 0; /* bytes, where the threads' are too few */

typedef struct Trial {
  pthread_mutex_t hold;
} Trial;

static void *wait_for_the_rest(void *trial) {
  Trial *t = trial;
  pthread_mutex_lock(&t->hold);
  pthread_mutex_unlock(&t->hold);
  return NULL;
}

/* The stack that OpenMP's variables ask for, as in "512", "64k" or "1 M"; 0 when they say
 * nothing that can be understood. */
static size_t asked_stack(void) {
  static const char *const names[] = {"OMP_STACKSIZE", "GOMP_STACKSIZE", "KMP_STACKSIZE"};
  const char *text = NULL;
  for (size_t i = 0; i < sizeof names / sizeof *names && text == NULL; i++)
    text = getenv(names[i]);
  if (text == NULL) return 0;
  char *unit;
  unsigned long long n = strtoull(text, &unit, 10);
  unit += strspn(unit, " \t");
  int shift = *unit == 'b' || *unit == 'B'   ? 0
              : *unit == 'm' || *unit == 'M' ? 20
              : *unit == 'g' || *unit == 'G' ? 30
                                             : 10;
  return n > SIZE_MAX >> shift ? SIZE_MAX : (size_t)n << shift;
}

/* How many threads, up to n, can be there at once, this one included, with a stack of so
 * many bytes (0: as the system has it). */
static int try_threads(int n, size_t stack) {
  pthread_t made[PARALLEL_MAX];
  pthread_attr_t attributes;
  Trial trial;
  int count = 1;
  if (pthread_attr_init(&attributes) != 0) return 1;
  if (stack > 0 && pthread_attr_setstacksize(&attributes, stack) != 0) n = 1;
  pthread_mutex_init(&trial.hold, NULL);
  pthread_mutex_lock(&trial.hold);
  while (count < n &&
         pthread_create(&made[count], &attributes, wait_for_the_rest, &trial) == 0)
    count++;
  pthread_mutex_unlock(&trial.hold);
  for (int i = 1; i < count; i++) pthread_join(made[i], NULL);
  pthread_mutex_destroy(&trial.hold);
  pthread_attr_destroy(&attributes);
  return count;
}

/* Bytes of this thread's stack, SIZE_MAX where that cannot be found out. */
static size_t own_stack(void) {
  size_t size = SIZE_MAX;
#ifdef __linux__
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return size;
  pthread_attr_getstacksize(&attributes, &size);
  pthread_attr_destroy(&attributes);
#endif
  return size;
}

/* Let OpenMP's library make its threads, which it keeps; the stack that each of them has.
 * One tells it for all, as the question takes memory. */
static size_t start_threads(int n) {
  size_t stack = SIZE_MAX;
#pragma omp parallel num_threads(n) reduction(min : stack)
  if (omp_get_thread_num() == 1) stack = own_stack();
  return stack;
}

static int prove_threads(int n) {
  size_t stack = asked_stack();
  bool small = stack > 0 && stack < PARALLEL_STACK;
  int most = small ? 1 : try_threads(n, stack);
  if (most < n) most -= most / 8; /* their stacks would leave no room for anything else */
  if (most > 1) {                 /* now, before memory gets scarce */
    stack = start_threads(most);
    small = stack < PARALLEL_STACK;
  }
  if (!small) return most;
  atomic_store(&small_stack, stack);
  return 1;
}

static int within_what_there_is(int n) {
  if (n <= atomic_load_explicit(&asked, memory_order_acquire)) {
    int most = atomic_load_explicit(&proven, memory_order_relaxed);
    return n < most ? n : most;
  }
  pthread_mutex_lock(&trial_lock);
  if (n > atomic_load(&asked)) {
    atomic_store(&proven, prove_threads(n));
    atomic_store_explicit(&asked, n, memory_order_release);
  }
  pthread_mutex_unlock(&trial_lock);
  return within_what_there_is(n);
}

/* ---- after fork ---- */

/* A child has none of its parent's threads, and OpenMP's library waits for them for ever.
 * So where the parent had some, the child does without. */

static atomic_bool had_several, is_child;

static void note_child(void) {
  if (atomic_load(&had_several)) atomic_store(&is_child, true);
  blas_lock =
      (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* whoever held them is not here */
  trial_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

static pthread_once_t watching = PTHREAD_ONCE_INIT;

static void watch_forks(void) { pthread_atfork(NULL, NULL, note_child); }

bool parallel_is_child(void) { return atomic_load(&is_child); }

/* ---- how many are used ---- */

int parallel_asked(void) {
  int n = atomic_load_explicit(&threads, memory_order_relaxed);
  return n > 0 ? n : omp_get_max_threads();
}

int parallel_allowed(void) {
  int n = parallel_asked(), limit = omp_get_thread_limit();
  size_t stack = asked_stack();
  if (n > 1 && stack > 0 && stack < PARALLEL_STACK) {
    atomic_store(&small_stack, stack);
    return 1;
  }
  if (n > PARALLEL_MAX) n = PARALLEL_MAX;
  return n < limit ? n : limit;
}

size_t parallel_small_stack(void) { return atomic_load(&small_stack); }

static _Thread_local bool alone;

void parallel_stay_alone(void) { alone = true; }

int parallel_threads(void) {
  if (alone) return 1;
  int n = parallel_asked(), limit = omp_get_thread_limit();
  if (n > limit) n = limit;
  if (n == 1) return 1;
  if (atomic_load_explicit(&is_child, memory_order_relaxed)) return 1;
  n = within_what_there_is(n < PARALLEL_MAX ? n : PARALLEL_MAX);
  if (n > 1 && !atomic_load_explicit(&had_several, memory_order_relaxed)) {
    pthread_once(&watching, watch_forks);
    atomic_store(&had_several, true);
  }
  return n;
}

void parallel_set_threads(int n) { atomic_store(&threads, n); }

/* ---- BLAS ---- */

/* OpenBLAS's OpenMP flavour also sets OpenMP's own default when it is told a
 * number of threads, so that is put back too. */
static void set_blas_threads(int n) {
  int omp = omp_get_max_threads();
  openblas_set_num_threads(n);
  if (omp_get_max_threads() != omp) omp_set_num_threads(omp);
}

void blas_begin(void) {
  if (!openblas_set_num_threads || !openblas_get_num_threads) return;
  pthread_mutex_lock(&blas_lock);
  if (blas_depth++ == 0) {
    blas_saved = openblas_get_num_threads();
    if (blas_saved != 1) set_blas_threads(1);
  }
  pthread_mutex_unlock(&blas_lock);
}

void blas_end(void) {
  if (!openblas_set_num_threads || !openblas_get_num_threads) return;
  pthread_mutex_lock(&blas_lock);
  if (--blas_depth == 0 && blas_saved != 1) set_blas_threads(blas_saved);
  pthread_mutex_unlock(&blas_lock);
}

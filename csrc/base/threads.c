/* Threads: how many kernels use, and BLAS kept to one. */
#include "base/threads.h"

#include <cblas.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

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
static atomic_int proven = 1; /* so many there can be */
static atomic_int asked = 1;  /* and so many were asked for when that was found out */

typedef struct Trial {
  pthread_mutex_t hold;
} Trial;

static void *wait_for_the_rest(void *trial) {
  Trial *t = trial;
  pthread_mutex_lock(&t->hold);
  pthread_mutex_unlock(&t->hold);
  return NULL;
}

/* How many threads, up to n, can be there at once, this one included. */
static int try_threads(int n) {
  pthread_t made[PARALLEL_MAX];
  Trial trial;
  int count = 1;
  pthread_mutex_init(&trial.hold, NULL);
  pthread_mutex_lock(&trial.hold);
  while (count < n && pthread_create(&made[count], NULL, wait_for_the_rest, &trial) == 0)
    count++;
  pthread_mutex_unlock(&trial.hold);
  for (int i = 1; i < count; i++) pthread_join(made[i], NULL);
  pthread_mutex_destroy(&trial.hold);
  return count;
}

/* Let OpenMP's library make its threads, which it keeps. */
static void start_threads(int n) {
  atomic_int there = 0;
#pragma omp parallel num_threads(n)
  atomic_fetch_add(&there, 1);
}

static int within_what_there_is(int n) {
  if (n <= atomic_load_explicit(&asked, memory_order_acquire)) {
    int most = atomic_load_explicit(&proven, memory_order_relaxed);
    return n < most ? n : most;
  }
  pthread_mutex_lock(&trial_lock);
  if (n > atomic_load(&asked)) {
    int most = try_threads(n);
    start_threads(most); /* now, before memory gets scarce */
    atomic_store(&proven, most);
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
  blas_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* whoever held them is not here */
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

int parallel_threads(void) {
  int n = parallel_asked();
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

/* Threads: how many kernels use, and BLAS kept to one. */
#include "base/threads.h"

#include <cblas.h>
#include <pthread.h>
#include <stdatomic.h>

/* Only OpenBLAS has these; with another BLAS they are absent and BLAS's own
 * variables (MKL_NUM_THREADS, …) decide. */
extern void openblas_set_num_threads(int) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));

static atomic_int threads = 0;

static pthread_mutex_t blas_lock = PTHREAD_MUTEX_INITIALIZER;
static int blas_depth = 0;
static int blas_saved = 1;

int parallel_threads(void) {
  int n = atomic_load_explicit(&threads, memory_order_relaxed);
  return n > 0 ? n : omp_get_max_threads();
}

void parallel_set_threads(int n) { atomic_store(&threads, n); }

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

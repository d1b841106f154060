/* Threads.
 *
 * Kernels cut their work into pieces that depend on the problem alone, never
 * on the number of threads, or into pieces whose cuts change no sum.  So a
 * result is the same bit for bit on 1 thread and on 16. */
#ifndef CGLOW_BASE_THREADS_H
#define CGLOW_BASE_THREADS_H

#include <omp.h>
#include <stdbool.h>
#include <stddef.h>

#define PARALLEL_MAX 1024
/* Bytes of a thread's stack; kernels were seen to take 72 kB of it. */
#define PARALLEL_STACK ((size_t)256 << 10)

/* Threads used by kernels: as many as were asked for, at first OpenMP's default
 * (OMP_NUM_THREADS), if the system gives so many.  One in a child made by fork after its
 * parent had used several. */
int parallel_threads(void);
int parallel_asked(void);
bool parallel_is_child(void);
/* How many threads of those asked for the environment allows, as far as can be told
 * without making one. */
int parallel_allowed(void);
/* Bytes of stack that the threads have, where those are too few for kernels and so one
 * thread computes; else 0. */
size_t parallel_small_stack(void);
void parallel_set_threads(int n);
/* Kernels that this thread calls use no other one from now on: it works beside those that do. */
void parallel_stay_alone(void);

/* Bracket every stretch that calls BLAS from our own threads: OpenBLAS runs
 * single-threaded between the two, and the host's setting comes back after. */
void blas_begin(void);
void blas_end(void);

#endif

/* Threads.
 *
 * Kernels cut their work into pieces that depend on the problem alone, never
 * on the number of threads, or into pieces whose cuts change no sum.  So a
 * result is the same bit for bit on 1 thread and on 16. */
#ifndef CGLOW_BASE_THREADS_H
#define CGLOW_BASE_THREADS_H

#include <omp.h>
#include <stdbool.h>

#define PARALLEL_MAX 1024

/* Threads used by kernels: as many as were asked for, at first OpenMP's default
 * (OMP_NUM_THREADS), if the system gives so many.  One in a child made by fork after its
 * parent had used several. */
int parallel_threads(void);
int parallel_asked(void);
bool parallel_is_child(void);
void parallel_set_threads(int n);

/* Bracket every stretch that calls BLAS from our own threads: OpenBLAS runs
 * single-threaded between the two, and the host's setting comes back after. */
void blas_begin(void);
void blas_end(void);

#endif

/* Threads.
 *
 * Kernels cut their work into pieces that depend on the problem alone, never
 * on the number of threads, or into pieces whose cuts change no sum.  So a
 * result is the same bit for bit on 1 thread and on 16. */
#ifndef CGLOW_BASE_THREADS_H
#define CGLOW_BASE_THREADS_H

#include <omp.h>

/* Threads used by kernels; at first OpenMP's default (OMP_NUM_THREADS). */
int parallel_threads(void);
void parallel_set_threads(int n);

/* Bracket every stretch that calls BLAS from our own threads: OpenBLAS runs
 * single-threaded between the two, and the host's setting comes back after. */
void blas_begin(void);
void blas_end(void);

#endif

/* Products of a large matrix with few rows, where BLAS would spend its time
 * packing: each weight is read once, for all rows together. */
#ifndef CGLOW_MATH_GEMV_H
#define CGLOW_MATH_GEMV_H

#include "base/real.h"

#define GEMV_ROWS 8

/* out[n·ldo + o] = Σ_j w[o·k + j]·x[n·k + j] for o < m, n < rows: the same
 * sum however many rows there are. */
void gemv_transposed(const real *x, const real *w, size_t rows, size_t m, size_t k,
                     real *out, size_t ldo);

/* out[n·ldo + j] = Σ_o x[n·m + o]·w[o·ldw + j] for j < k. */
void gemv(const real *x, const real *w, size_t rows, size_t m, size_t k, size_t ldw,
          real *out, size_t ldo);

#endif

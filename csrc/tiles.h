/* Small vectorised kernels over panels and rows of a tile. */
#ifndef CGLOW_TILES_H
#define CGLOW_TILES_H

#include "gemm.h"

/* A panel of `rows` channels (gemm.h), of which n pixels count, n a multiple of
 * half of one: h[k][i] = max((h[k][i] + bias[k])·scale[k], 0). */
void norm_relu(real *h, size_t rows, size_t n, const real *bias, const real *scale);

/* The same, backwards: d holds the gradient of norm_relu's result h and becomes
 * the gradient of its input.  dbias[k] and dlogs[k] grow by the panel's sums. */
void norm_relu_backward(const real *h, real *d, size_t rows, size_t n, const real *scale,
                        real *dbias, real *dlogs);

/* dst[x] += left[x−1] + mid[x] + right[x+1], 0 outside 0..w−1. */
void add_shifted(real *dst, const real *left, const real *mid, const real *right,
                 size_t w);

#endif

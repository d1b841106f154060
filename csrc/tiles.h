/* Small vectorised kernels over panels and rows of a tile. */
#ifndef CGLOW_TILES_H
#define CGLOW_TILES_H

#include "gemm.h"
#include "vector.h"

/* A panel of `rows` channels (gemm.h), of which n pixels count, n a multiple of
 * LANES: h[k][i] = max((h[k][i] + bias[k])·scale[k], 0). */
void norm_relu(real *h, size_t rows, size_t n, const real *bias, const real *scale);

/* The same, backwards: d holds the gradient of norm_relu's result h and becomes
 * the gradient of its input.  The gradients of bias and logs of channel k are
 * added to dbias and dlogs [k][LANES], a sum for each lane of a register. */
void norm_relu_backward(const real *h, real *d, size_t rows, size_t n, const real *scale,
                        real *dbias, real *dlogs);

/* out[k] = Σ lanes[k][·] */
void sum_lanes(const real *lanes, size_t rows, real *out);

/* dst[x] += left[x−1] + mid[x] + right[x+1], 0 outside 0..w−1. */
void add_shifted(real *dst, const real *left, const real *mid, const real *right,
                 size_t w);

#endif

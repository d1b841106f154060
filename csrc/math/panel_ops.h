/* Small vectorised kernels over panels and rows of a tile. */
#ifndef CGLOW_MATH_PANEL_OPS_H
#define CGLOW_MATH_PANEL_OPS_H

#include "math/gemm.h"

/* A panel of `rows` channels (math/gemm.h), of which n pixels count, n a multiple of
 * half of one: h[k][i] = max((h[k][i] + bias[k])·scale[k], 0). */
void norm_relu(real *h, size_t rows, size_t n, const real *bias, const real *scale);

/* The backward pass of norm_relu: d holds the gradient of its result h and becomes the
 * gradient of its input.  dbias[k] and dlogs[k] grow by the panel's sums. */
void norm_relu_backward(const real *h, real *d, size_t rows, size_t n, const real *scale,
                        real *dbias, real *dlogs);

/* n pixels of each channel become max(h, 0), unless !relu; the panel's others 0.
 * Channels lie ld apart. */
void relu_panel(real *h, size_t channels, size_t ld, size_t n, bool relu);

/* d, the gradient of relu's result h (NULL: there was no relu), becomes that of its
 * input; each channel has so many rows of a panel, and its sum is added to
 * sums[channel] (NULL: not wanted). */
void relu_panel_backward(const real *h, real *d, size_t channels, size_t rows, size_t n,
                         real *sums);

/* dst[x] += left[x−1] + mid[x] + right[x+1], 0 outside 0..w−1. */
void add_shifted(real *dst, const real *left, const real *mid, const real *right,
                 size_t w);

/* Rows that lie `distance` apart, each to a row of two panels: of its first 2n numbers
 * those in even places and those in odd ones. */
void deinterleave_rows(const real *src, size_t distance, size_t rows, size_t n,
                       real *even, real *odd);

/* The inverse of deinterleave_rows: rows that lie `distance` apart, from those of two
 * panels. */
void interleave_rows(const real *even, const real *odd, size_t distance, size_t rows,
                     size_t n, real *dst);

#endif

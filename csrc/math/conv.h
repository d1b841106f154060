/* Two-dimensional convolution (cross-correlation) by im2col and GEMM.
 *
 *   out[n,o,y,x] = bias[o] + Σ_c,i,j weight[o,c,i,j]·in[n,c, y·sh+i−ph, x·sw+j−pw]
 *
 * weight is [out, in, kh, kw], so as a matrix it is out × (in·kh·kw) and a
 * column of "cols" lists one output pixel's inputs in the order c, i, j. */
#ifndef CGLOW_MATH_CONV_H
#define CGLOW_MATH_CONV_H

#include "math/conv_geometry.h"
#include "math/conv_put.h"

/* 3×3, stride 1, padding 1: the output has the size of the input. */
static const ConvGeometry conv3x3 = {3, 3, 1, 1, 1, 1, PRECISION_FP32};

/* Output size along one side; 0 when the kernel does not fit. */
size_t conv_out_size(size_t in, size_t kernel, size_t stride, size_t pad);

/* Columns for output rows row0 .. row0+rows-1, counted over all samples
 * (row = n·oh + y), as a [c·kh·kw, rows·ow] matrix with row length ld. */
void im2col(const Act *in, const ConvGeometry *g, size_t oh, size_t ow, size_t row0,
            size_t rows, real *cols, size_t ld);

/* Columns for a 3×3 or other odd stride-1 kernel with "same" padding, but
 * with the offsets negated: what the backward pass reads. */
void im2col_flipped(const Act *in, const ConvGeometry *g, size_t row0, size_t rows,
                    real *cols, size_t ld);

/* Scratch, in reals, that the two calls below need; `threads` pieces may run
 * at once. */
size_t conv_scratch(const ConvGeometry *g, const Act *in, const Act *out, int threads);

/* cols: all of im2col, when somebody has it; else NULL. */
void conv_forward(const Act *in, const real *weight, const real *bias,
                  const ConvGeometry *g, const Act *out, const real *cols, real *scratch,
                  int threads);

/* The same, without columns, and what `put` makes of the output. */
void conv_forward_put(const Act *in, const real *weight, const real *bias,
                      const ConvGeometry *g, const Act *out, const Put *put,
                      real *scratch, int threads);

/* dweight = beta·dweight + …, dbias likewise (NULL: no bias); din is
 * overwritten (NULL: not wanted).  Returns the largest magnitude in dweight. */
real conv_backward(const Act *in, const real *weight, const ConvGeometry *g,
                   const Act *dout, const Act *din, real *dweight, real weight_beta,
                   real *dbias, real bias_beta, const real *cols, real *scratch,
                   int threads);

/* The same, without columns, and din as it is put. */
real conv_backward_put(const Act *in, const real *weight, const ConvGeometry *g,
                       const Act *dout, const Act *din, const Put *put, real *dweight,
                       real weight_beta, real *dbias, real bias_beta, real *scratch,
                       int threads);

#endif

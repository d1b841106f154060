/* Invertible 1×1 convolution (design: conditional 1×1; Glow section 3.2).
 *
 *   z = W y at every pixel;   log-det = H·W·log|det W|
 *
 * W is C×C row-major, one for each sample (step C·C) or one for all (step 0);
 * each serves `repeat` samples in turn.  Factorised in double. */
#ifndef CGLOW_FLOW_INVCONV_H
#define CGLOW_FLOW_INVCONV_H

#include "base/act.h"

typedef struct InvConvMatrices {
  const real *w;
  size_t count; /* of matrices */
  size_t step, repeat;
} InvConvMatrices;

/* Doubles of scratch for each thread of invconv_factor. */
size_t invconv_factor_scratch(size_t c);

/* For every matrix: log|det W| (−inf when singular), unless NULL its inverse,
 * and unless NULL its reciprocal condition number in the 1-norm. */
void invconv_factor(const InvConvMatrices *m, size_t c, double *logabsdet, real *inverse,
                    double *rcond, double *scratch, int threads);

/* out = W in, or out = Wᵀ in. */
void invconv_apply(const Act *in, const InvConvMatrices *m, bool transposed,
                   const Act *out, int threads);

/* dw[n] = dz[n]·y[n]ᵀ + dlogdet[n]·H·W·W⁻ᵀ for each sample. */
void invconv_weight_gradient(const Act *y, const Act *dz, const real *dlogdet,
                             const InvConvMatrices *inverse, real *dw, int threads);

#endif

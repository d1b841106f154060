/* The library's convolutions once more, in plain loops straight from their
 * definitions, for specs to hold the fast kernels against.  Only in builds with
 * CGLOW_REFERENCE.  Tensors are (N, C, H, W) without gaps; sums in double. */
#ifndef CGLOW_TEST_REFERENCE_H
#define CGLOW_TEST_REFERENCE_H

#ifdef CGLOW_REFERENCE

#include "math/conv.h"

typedef struct ReferenceConv {
  size_t n, in, h, w; /* x */
  size_t out, oh, ow; /* result */
  ConvGeometry g;
} ReferenceConv;

/* y[n,o,·,·] = bias[o] + Σ weight[o,c,i,j]·x[n,c,·,·]; bias may be NULL. */
void reference_conv(const ReferenceConv *r, const real *x, const real *weight,
                    const real *bias, real *y);
/* dx, dweight and dbias are overwritten. */
void reference_conv_backward(const ReferenceConv *r, const real *x, const real *weight,
                             const real *dy, real *dx, real *dweight, real *dbias);

#endif
#endif

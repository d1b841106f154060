/* The transpose of any convolution: what its input's gradient is of its output's. */
#ifndef CGLOW_MATH_CONV_TRANSPOSE_H
#define CGLOW_MATH_CONV_TRANSPOSE_H

#include "base/act.h"
#include "math/conv_geometry.h"

/* Reals of scratch for conv_transpose. */
size_t conv_transpose_scratch(const ConvGeometry *g, const Act *in, const Act *out,
                              int threads);

/* din from dout; weight: [dout's channels][din's][kernel]. */
void conv_transpose(const real *weight, const ConvGeometry *g, const Act *dout,
                    const Act *din, real *scratch, int threads);

#endif

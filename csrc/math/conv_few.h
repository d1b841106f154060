/* Convolutions that make few pixels, as products of the weight, read once and as it lies,
 * with a row of inputs for each pixel.  Of these sums the weight is by far the largest
 * part, and a product that is made for many pixels would spend its time on none. */
#ifndef CGLOW_MATH_CONV_FEW_H
#define CGLOW_MATH_CONV_FEW_H

#include "math/conv_geometry.h"

/* Has the output so few pixels that this way pays?  Never where products are rounded,
 * because nothing is rounded here. */
bool conv_few_pays(const ConvGeometry *g, const Act *out);

size_t conv_few_scratch(const ConvGeometry *g, const Act *in, const Act *out);

/* As conv_forward and the input's gradient of conv_backward (math/conv.h). */
void conv_few_forward(const Act *in, const real *weight, const real *bias,
                      const ConvGeometry *g, const Act *out, real *scratch, int threads);
void conv_few_backward(const real *weight, const ConvGeometry *g, const Act *dout,
                       const Act *din, real *scratch, int threads);

#endif

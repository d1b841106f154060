/* How the kernel of a convolution moves over an image. */
#ifndef CGLOW_MATH_CONV_GEOMETRY_H
#define CGLOW_MATH_CONV_GEOMETRY_H

#include "base/act.h"
#include "base/isa.h"

/* Kernel, stride and padding, each by rows and by columns, and its products. */
typedef struct ConvGeometry {
  size_t kh, kw, sh, sw, ph, pw;
  Precision precision;
} ConvGeometry;

#endif

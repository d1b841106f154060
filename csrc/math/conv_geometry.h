/* How the kernel of a convolution moves over an image. */
#ifndef CGLOW_MATH_CONV_GEOMETRY_H
#define CGLOW_MATH_CONV_GEOMETRY_H

#include "base/act.h"

/* Kernel, stride and padding, each by rows and by columns. */
typedef struct ConvGeometry {
  size_t kh, kw, sh, sw, ph, pw;
} ConvGeometry;

#endif

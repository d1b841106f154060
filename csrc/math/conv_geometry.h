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

static inline bool conv_same_geometry(const ConvGeometry *a, const ConvGeometry *b) {
  return a->kh == b->kh && a->kw == b->kw && a->sh == b->sh && a->sw == b->sw &&
         a->ph == b->ph && a->pw == b->pw && a->precision == b->precision;
}

#endif

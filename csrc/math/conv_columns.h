/* What the passes of a convolution share: which way it goes, and its columns. */
#ifndef CGLOW_MATH_CONV_COLUMNS_H
#define CGLOW_MATH_CONV_COLUMNS_H

#include "math/conv_geometry.h"
#include "math/conv_put.h"
#include "math/conv_winograd.h"

static inline size_t kernel_size(const ConvGeometry *g, size_t c) {
  return c * g->kh * g->kw;
}

static inline bool pointwise(const ConvGeometry *g) {
  return g->kh == 1 && g->kw == 1 && g->sh == 1 && g->sw == 1 && g->ph == 0 && g->pw == 0;
}

static inline bool same_stride1(const ConvGeometry *g) {
  return g->sh == 1 && g->sw == 1 && 2 * g->ph + 1 == g->kh && 2 * g->pw + 1 == g->kw;
}

static inline bool by_winograd(const ConvGeometry *g, const Act *in, size_t out) {
  return g->kh == 3 && g->kw == 3 && same_stride1(g) &&
         conv_winograd_pays(g->precision, in, out);
}

/* Many channels to a few: nine planes of each output are a product of its kernels with
 * the input as it lies, and no columns of many channels are formed. */
static inline bool narrows(const ConvGeometry *g, size_t in, size_t out) {
  return same_stride1(g) && g->kh * g->kw > 1 && 8 * out <= in;
}

static inline ConvGeometry one_by_one(const ConvGeometry *g) {
  return (ConvGeometry){1, 1, 1, 1, 0, 0, g->precision};
}

/* A convolution whose columns lie ready is one by 1×1 kernels on them. */
static inline Act columns_act(const Act *in, const ConvGeometry *g, const Act *out,
                              const real *cols) {
  return act_cnhw((real *)cols, out->n, kernel_size(g, in->c), out->h, out->w);
}

/* The tile's columns: the input itself for a 1×1 kernel, or gathered into buf. */
const real *conv_tile_columns(const Act *in, const ConvGeometry *g, const Act *out,
                              size_t row0, size_t rows, real *buf, size_t *ld);

/* Kernels turned by 180°, with the channels exchanged: [in][out·kh·kw]. */
void conv_turn(const real *weight, const ConvGeometry *g, size_t out, size_t in,
               real *turned);

#endif

/* conv2d as a layer of a network; the arithmetic is in math/conv.c. */
#include <stdio.h>

#include "nn/layer.h"

static bool shape(const Layer *l, const Shape *in, Shape *out, char *why) {
  const ConvGeometry *g = &l->geometry;
  if (in->flat || in->c != l->in) {
    snprintf(why, 160, "conv2d wants %zu channels, got %zu%s", l->in, in->c,
             in->flat ? " flat features" : "");
    return false;
  }
  *out = (Shape){l->out, conv_out_size(in->h, g->kh, g->sh, g->ph),
                 conv_out_size(in->w, g->kw, g->sw, g->pw), false};
  if (out->h > 0 && out->w > 0) return true;
  snprintf(why, 160, "conv2d's %zux%zu kernel does not fit into %zux%zu pixels", g->kh,
           g->kw, in->h, in->w);
  return false;
}

static size_t scratch_size(const Layer *l, const Act *in, const Act *out, int threads) {
  return conv_scratch(&l->geometry, in, out, threads);
}

static void forward(const Layer *l, const Act *in, const Act *out, const real *cols,
                    real *scratch, int threads) {
  conv_forward(in, l->weight->value, l->bias ? l->bias->value : NULL, &l->geometry, out,
               cols, scratch, threads);
}

static void backward(const Layer *l, const Act *in, const Act *out, const Act *dout,
                     const Act *din, const real *cols, real *scratch, int threads) {
  (void)out;
  real wb, bb = 0;
  real *dw = param_accumulate(l->weight, &wb);
  real *db = l->bias ? param_accumulate(l->bias, &bb) : NULL;
  l->weight->largest = conv_backward(in, l->weight->value, &l->geometry, dout, din, dw,
                                     wb, db, bb, cols, scratch, threads);
}

void conv2d_forward_put(const Layer *l, const Act *in, const Act *out, const Put *put,
                        real *scratch, int threads) {
  conv_forward_put(in, l->weight->value, l->bias ? l->bias->value : NULL, &l->geometry,
                   out, put, scratch, threads);
}

void conv2d_backward_put(const Layer *l, const Act *in, const Act *dout, const Act *din,
                         const Put *put, real *scratch, int threads) {
  real wb, bb = 0;
  real *dw = param_accumulate(l->weight, &wb);
  real *db = l->bias ? param_accumulate(l->bias, &bb) : NULL;
  l->weight->largest = conv_backward_put(in, l->weight->value, &l->geometry, dout, din,
                                         put, dw, wb, db, bb, scratch, threads);
}

static void describe(const Layer *l, char *text) {
  const ConvGeometry *g = &l->geometry;
  snprintf(text, LAYER_WHY,
           " %zu -> %zu, %zux%zu kernel, stride %zux%zu, padding %zux%zu%s", l->in,
           l->out, g->kh, g->kw, g->sh, g->sw, g->ph, g->pw, l->bias ? "" : ", no bias");
}

const LayerOps layer_conv2d = {.kind = "conv2d",
                               .shape = shape,
                               .scratch = scratch_size,
                               .forward = forward,
                               .backward = backward,
                               .convolves = true,
                               .describe = describe};

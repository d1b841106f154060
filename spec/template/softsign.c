/* Softsign: y = x/(1 + |x|).  The template of a network layer. */
#include <math.h>

#include "nn/layer.h"

static bool shape(const Layer *l, const Shape *in, Shape *out, char *why) {
  (void)l, (void)why;
  *out = *in;
  return true;
}

static size_t scratch_size(const Layer *l, const Act *in, const Act *out, int threads) {
  (void)l, (void)in, (void)out, (void)threads;
  return 0;
}

static void forward(const Layer *l, const Act *in, const Act *out, const real *cols,
                    real *scratch, int threads) {
  (void)l, (void)cols, (void)scratch, (void)threads;
  for (size_t n = 0; n < in->n; n++)
    for (size_t c = 0; c < in->c; c++) {
      const real *x = act_plane(in, n, c);
      real *y = act_plane(out, n, c);
      for (size_t i = 0; i < in->h * in->w; i++) y[i] = x[i] / (1 + (real)fabs(x[i]));
    }
}

/* dy/dx = (1 − |y|)². */
static void backward(const Layer *l, const Act *in, const Act *out, const Act *dout,
                     const Act *din, const real *cols, real *scratch, int threads) {
  (void)l, (void)in, (void)cols, (void)scratch, (void)threads;
  if (din == NULL) return;
  for (size_t n = 0; n < out->n; n++)
    for (size_t c = 0; c < out->c; c++) {
      const real *y = act_plane(out, n, c), *dy = act_plane(dout, n, c);
      real *dx = act_plane(din, n, c);
      for (size_t i = 0; i < out->h * out->w; i++) {
        real slope = 1 - (real)fabs(y[i]);
        dx[i] = dy[i] * slope * slope;
      }
    }
}

const LayerOps layer_softsign = {.kind = "softsign",
                                 .shape = shape,
                                 .scratch = scratch_size,
                                 .forward = forward,
                                 .backward = backward,
                                 .needs_out = true};

/* Layers that work on each number, or each channel, alone: relu, tanh, sigmoid
 * and norm. */
#include <stdio.h>

#include "base/threads.h"
#include "base/vmath.h"
#include "nn/layer.h"

static bool same_shape(const Layer *l, const Shape *in, Shape *out, char *why) {
  (void)l, (void)why;
  *out = *in;
  return true;
}

static size_t no_scratch(const Layer *l, const Act *in, const Act *out, int threads) {
  (void)l, (void)in, (void)out, (void)threads;
  return 0;
}

CLONES static void relu(const real *x, real *y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = x[i] > 0 || x[i] != x[i] ? x[i] : 0;
}

CLONES static void relu_back(const real *y, const real *dy, real *dx, size_t n) {
  for (size_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

CLONES static void tanh_forward(const real *x, real *y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = v_tanh(x[i]);
}

CLONES static void tanh_back(const real *y, const real *dy, real *dx, size_t n) {
  for (size_t i = 0; i < n; i++) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

CLONES static void sigmoid_forward(const real *x, real *y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = v_sigmoid(x[i]);
}

CLONES static void sigmoid_back(const real *y, const real *dy, real *dx, size_t n) {
  for (size_t i = 0; i < n; i++) dx[i] = dy[i] * y[i] * (1 - y[i]);
}

CLONES static void affine(const real *x, real *y, size_t n, real bias, real scale) {
  for (size_t i = 0; i < n; i++) y[i] = (x[i] + bias) * scale;
}

typedef void (*Map)(const real *, real *, size_t);
typedef void (*MapBack)(const real *, const real *, real *, size_t);

static void each_plane(const Act *in, const Act *out, Map f, int threads) {
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(threads) if (threads > 1)
  for (size_t n = 0; n < in->n; n++)
    for (size_t c = 0; c < in->c; c++)
      f(act_plane(in, n, c), act_plane(out, n, c), in->h * in->w);
}

static void each_plane_back(const Act *out, const Act *dout, const Act *din, MapBack f,
                            int threads) {
  if (din == NULL) return;
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(threads) if (threads > 1)
  for (size_t n = 0; n < out->n; n++)
    for (size_t c = 0; c < out->c; c++)
      f(act_plane(out, n, c), act_plane(dout, n, c), act_plane(din, n, c),
        out->h * out->w);
}

#define POINTWISE(name, map, back, place, needs)                                       \
  static void name##_layer_forward(const Layer *l, const Act *in, const Act *out,      \
                                   const real *cols, real *scratch, int threads) {     \
    (void)l, (void)cols, (void)scratch;                                                \
    each_plane(in, out, map, threads);                                                 \
  }                                                                                    \
  static void name##_layer_backward(const Layer *l, const Act *in, const Act *out,     \
                                    const Act *dout, const Act *din, const real *cols, \
                                    real *scratch, int threads) {                      \
    (void)l, (void)in, (void)cols, (void)scratch;                                      \
    each_plane_back(out, dout, din, back, threads);                                    \
  }                                                                                    \
  const LayerOps layer_##name = {.kind = #name,                                        \
                                 .shape = same_shape,                                  \
                                 .scratch = no_scratch,                                \
                                 .forward = name##_layer_forward,                      \
                                 .backward = name##_layer_backward,                    \
                                 .in_place = (place),                                  \
                                 .needs_out = (needs)};

/* Only relu runs in place: it leaves conv2d's, linear's and norm's backward
 * passes right, and its own, which asks only where out > 0. */
POINTWISE(relu, relu, relu_back, true, false)
POINTWISE(tanh, tanh_forward, tanh_back, false, true)
POINTWISE(sigmoid, sigmoid_forward, sigmoid_back, false, true)

static bool norm_shape(const Layer *l, const Shape *in, Shape *out, char *why) {
  *out = *in;
  if (in->c == l->in) return true;
  snprintf(why, 160, "norm wants %zu channels, got %zu", l->in, in->c);
  return false;
}

static void norm_forward(const Layer *l, const Act *in, const Act *out, const real *cols,
                         real *scratch, int threads) {
  (void)cols, (void)scratch;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (size_t c = 0; c < in->c; c++) {
    real b = l->bias->value[c], s = v_exp(l->factor * l->logs->value[c]);
    for (size_t n = 0; n < in->n; n++)
      affine(act_plane(in, n, c), act_plane(out, n, c), in->h * in->w, b, s);
  }
}

/* d bias = Σ dout·scale;  d logs = factor·Σ dout·out.  The output may have gone through a
 * relu in place by then: where that cut, dout is 0. */
static void norm_backward(const Layer *l, const Act *in, const Act *out, const Act *dout,
                          const Act *din, const real *cols, real *scratch, int threads) {
  (void)in, (void)cols, (void)scratch;
  real bb, lb;
  real *db = param_accumulate(l->bias, &bb), *dl = param_accumulate(l->logs, &lb);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (size_t c = 0; c < out->c; c++) {
    real s = v_exp(l->factor * l->logs->value[c]);
    double sum = 0, dot = 0;
    for (size_t n = 0; n < out->n; n++) {
      const real *o = act_plane(out, n, c), *d = act_plane(dout, n, c);
      for (size_t i = 0; i < out->h * out->w; i++) {
        sum += (double)d[i];
        dot += (double)d[i] * (double)o[i];
      }
      if (din != NULL) affine(d, act_plane(din, n, c), out->h * out->w, 0, s);
    }
    db[c] = (bb == 0 ? 0 : db[c]) + (real)sum * s;
    dl[c] = (lb == 0 ? 0 : dl[c]) + l->factor * (real)dot;
  }
}

static void norm_describe(const Layer *l, char *text) {
  snprintf(text, LAYER_WHY, " %zu", l->in);
}

const LayerOps layer_norm = {.kind = "norm",
                             .shape = norm_shape,
                             .scratch = no_scratch,
                             .forward = norm_forward,
                             .backward = norm_backward,
                             .describe = norm_describe};

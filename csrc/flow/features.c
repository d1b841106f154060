/* One 1×1 convolution of the features of x for all layers of a level. */
#include "flow/features.h"

#include <string.h>

#include "base/threads.h"
#include "math/gemm.h"

/* Pixels that one piece of work handles. */
#define TILE_COLUMNS ((size_t)256)

void features_crop(const Act *u, const Act *to, int threads) {
  size_t top = (u->h - to->h) / 2, left = (u->w - to->w) / 2;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t c = 0; c < u->c; c++)
    for (size_t n = 0; n < u->n; n++) {
      const real *src = act_plane(u, n, c) + top * u->w + left;
      real *dst = act_plane(to, n, c);
      for (size_t y = 0; y < to->h; y++)
        memcpy(dst + y * to->w, src + y * u->w, to->w * sizeof *dst);
    }
}

void features_uncrop(const Act *from, const Act *u, int threads) {
  size_t top = (u->h - from->h) / 2, left = (u->w - from->w) / 2;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t c = 0; c < u->c; c++)
    for (size_t n = 0; n < u->n; n++) {
      real *dst = act_plane(u, n, c);
      const real *src = act_plane(from, n, c);
      if (u->h * u->w > from->h * from->w) memset(dst, 0, u->h * u->w * sizeof *dst);
      dst += top * u->w + left;
      for (size_t y = 0; y < from->h; y++)
        memcpy(dst + y * u->w, src + y * from->w, from->w * sizeof *dst);
    }
}

void features_forward(const Features *f, const Act *u, const Act *out, int threads) {
  size_t all = act_pixels(u);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t at = 0; at < all; at += TILE_COLUMNS) {
    size_t n = all - at < TILE_COLUMNS ? all - at : TILE_COLUMNS;
    real *to = out->data + at;
    for (size_t p = 0; p < f->parts; p++) {
      const Param *w = f->weight[p];
      gemm(f->precision, NO_TRANS, NO_TRANS, w->rows, n, f->channels, w->value,
           f->channels, u->data + at, u->cs, NULL, to, out->cs);
      to += w->rows * out->cs;
    }
  }
}

/* One part's gradient from dout's rows of that part, a panel of its columns at a time:
 * so each channel of u is turned into a column once. */
static void weight_gradient(Precision how, Param *w, const Act *u, const real *dout,
                            size_t cs, int threads) {
  real beta, *dw = param_accumulate(w, &beta);
  size_t all = act_pixels(u), k = u->c;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t c = 0; c < k; c += PANEL) {
    real *to = dw + c;
    gemm(how, NO_TRANS, TRANS, w->rows, k - c < PANEL ? k - c : PANEL, all, dout, cs,
         u->data + c * u->cs, u->cs, beta == 0 ? NULL : to, to, k);
  }
}

void features_backward(const Features *f, const Act *u, const Act *dout, const Act *du,
                       int threads) {
  size_t all = act_pixels(u);
  const real *from = dout->data;
  for (size_t p = 0; p < f->parts; p++, from += f->weight[p - 1]->rows * dout->cs)
    weight_gradient(f->precision, f->weight[p], u, from, dout->cs, threads);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t at = 0; at < all; at += TILE_COLUMNS) {
    size_t n = all - at < TILE_COLUMNS ? all - at : TILE_COLUMNS;
    const real *d = dout->data + at;
    real *to = du->data + at;
    for (size_t p = 0; p < f->parts; p++) {
      const Param *w = f->weight[p];
      gemm(f->precision, TRANS, NO_TRANS, f->channels, n, w->rows, w->value, f->channels,
           d, dout->cs, p == 0 ? NULL : to, to, du->cs);
      d += w->rows * dout->cs;
    }
  }
}

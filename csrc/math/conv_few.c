/* Convolutions that make few pixels (math/conv_few.h). */
#include "math/conv_few.h"

#include <string.h>

#include "base/size.h"
#include "math/gemv.h"

typedef ptrdiff_t Index;

/* The weight is read once for each GEMV_ROWS pixels. */
#define MOST_PIXELS ((size_t)2 * GEMV_ROWS)
/* Outputs (forward) or inputs (backward) that one piece of work handles. */
#define FEW_CHUNK ((size_t)32)

bool conv_few_pays(const ConvGeometry *g, const Act *out) {
  return g->precision == PRECISION_FP32 && act_pixels(out) <= MOST_PIXELS;
}

static inline size_t row_size(const ConvGeometry *g, size_t c) {
  return c * g->kh * g->kw;
}

size_t conv_few_scratch(const ConvGeometry *g, const Act *in, const Act *out) {
  size_t numbers;
  if (!checked_mul(MOST_PIXELS, row_size(g, in->c) + out->c, &numbers)) return SIZE_MAX;
  return numbers;
}

/* Where kernel place (i, j) of output pixel `pixel` reads; false outside the image. */
static bool reads(const ConvGeometry *g, const Act *in, const Act *out, size_t pixel,
                  size_t i, size_t j, size_t *at) {
  size_t x = pixel % out->w * g->sw + j, y = pixel / out->w % out->h * g->sh + i;
  if (y < g->ph || x < g->pw || y - g->ph >= in->h || x - g->pw >= in->w) return false;
  *at = (y - g->ph) * in->w + x - g->pw;
  return true;
}

/* Rows of inputs, [pixels][channels·kh·kw], in the order of the weight. */
static void gather(const ConvGeometry *g, const Act *in, const Act *out, real *rows) {
  size_t k = row_size(g, in->c), places = g->kh * g->kw, at;
  memset(rows, 0, act_pixels(out) * k * sizeof *rows);
  for (size_t p = 0; p < act_pixels(out); p++, rows += k)
    for (size_t t = 0; t < places; t++)
      if (reads(g, in, out, p, t / g->kw, t % g->kw, &at)) {
        const real *from = act_plane(in, p / (out->h * out->w), 0) + at;
        for (size_t c = 0; c < in->c; c++) rows[c * places + t] = from[c * in->cs];
      }
}

/* The transpose of gathering: rows are added where they were read. */
static void scatter(const ConvGeometry *g, const real *rows, const Act *out,
                    const Act *in) {
  size_t k = row_size(g, in->c), places = g->kh * g->kw, at;
  for (size_t n = 0; n < in->n; n++)
    for (size_t c = 0; c < in->c; c++)
      memset(act_plane(in, n, c), 0, in->h * in->w * sizeof *rows);
  for (size_t p = 0; p < act_pixels(out); p++, rows += k)
    for (size_t t = 0; t < places; t++)
      if (reads(g, in, out, p, t / g->kw, t % g->kw, &at)) {
        real *to = act_plane(in, p / (out->h * out->w), 0) + at;
        for (size_t c = 0; c < in->c; c++) to[c * in->cs] += rows[c * places + t];
      }
}

static inline real *pixel_at(const Act *a, size_t p) {
  size_t pixels = a->h * a->w;
  return act_plane(a, p / pixels, 0) + p % pixels;
}

static inline Index chunks(size_t n) { return (Index)((n + FEW_CHUNK - 1) / FEW_CHUNK); }

void conv_few_forward(const Act *in, const real *weight, const real *bias,
                      const ConvGeometry *g, const Act *out, real *scratch, int threads) {
  size_t k = row_size(g, in->c), pixels = act_pixels(out);
  real *rows = scratch, *sums = rows + pixels * k;
  gather(g, in, out, rows);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < chunks(out->c); i++) {
    size_t o = (size_t)i * FEW_CHUNK, m = min_size(out->c - o, FEW_CHUNK);
    for (size_t p = 0; p < pixels; p += GEMV_ROWS)
      gemv_transposed(rows + p * k, weight + o * k, min_size(pixels - p, GEMV_ROWS), m, k,
                      sums + p * out->c + o, out->c);
    for (size_t p = 0; p < pixels; p++)
      for (size_t c = o; c < o + m; c++)
        pixel_at(out, p)[c * out->cs] = sums[p * out->c + c] + (bias ? bias[c] : 0);
  }
}

void conv_few_backward(const real *weight, const ConvGeometry *g, const Act *dout,
                       const Act *din, real *scratch, int threads) {
  size_t k = row_size(g, din->c), pixels = act_pixels(dout), places = g->kh * g->kw;
  real *rows = scratch, *sums = rows + pixels * k;
  for (size_t p = 0; p < pixels; p++)
    for (size_t c = 0; c < dout->c; c++)
      sums[p * dout->c + c] = pixel_at(dout, p)[c * dout->cs];
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < chunks(din->c); i++) {
    size_t j = (size_t)i * FEW_CHUNK * places, n = min_size(k - j, FEW_CHUNK * places);
    for (size_t p = 0; p < pixels; p += GEMV_ROWS)
      gemv(sums + p * dout->c, weight + j, min_size(pixels - p, GEMV_ROWS), dout->c, n, k,
           rows + p * k + j, k);
  }
  scatter(g, rows, dout, din);
}

/* The backward pass of the affine coupling; see coupling.h.
 *
 * Three stages, each over pieces that do not depend on the number of threads:
 * rows (from dz to dv), tiles (from dv through the hidden layers), and then at
 * once weight gradients, by blocks of hidden channels, and the input's
 * gradient, by rows. */
#include <string.h>

#include "coupling.h"
#include "coupling_tiles.h"
#include "gemm.h"
#include "parallel.h"
#include "tiles.h"
#include "vmath.h"

/* Hidden channels whose weight gradients one piece of work sums. */
#define CHANNEL_BLOCK 64

typedef struct BackwardScratch {
  real *turned, *dturned;           /* conv3's weight and gradient, [out·9, width] */
  real *scale1, *scale2;
  real *dv;                         /* [n, out, h, w] */
  real *dv_cols, *in_cols, *planes; /* tiled: im2col of dv, of h, and dh's planes */
  real *da1, *da2;                  /* tiled: gradients of conv1's, conv2's output */
  real *sums;                       /* per tile: dbias1, dlogs1, dbias2, dlogs2 */
  size_t total;
} BackwardScratch;

static BackwardScratch backward_scratch(const Coupling *c, const CouplingPlan *p,
                                        real *base) {
  BackwardScratch s;
  size_t at = 0, out9 = out_channels(c) * 9, in9 = in_channels(c) * 9;
#define TAKE(field, count) s.field = base + at, at += round_up(count)
  TAKE(turned, out9 * c->width);
  TAKE(dturned, out9 * c->width);
  TAKE(scale1, c->width);
  TAKE(scale2, c->width);
  TAKE(dv, out_channels(c) * p->pixels);
  TAKE(dv_cols, out9 * p->pixels);
  TAKE(in_cols, in9 * p->pixels);
  TAKE(planes, in9 * p->pixels);
  TAKE(da1, c->width * p->pixels);
  TAKE(da2, c->width * p->pixels);
  TAKE(sums, 4 * c->width * p->tiles);
#undef TAKE
  s.total = at;
  return s;
}

size_t coupling_backward_scratch(const Coupling *c, const CouplingPlan *p, int threads) {
  (void)threads;
  return backward_scratch(c, p, NULL).total;
}

/* ---- rows: from dz, dlogdet to dy2 and dv ---- */

/* z = (y + t)·σ with t = tanh(vt·st), r = tanh(vr·sr), σ = sigmoid(r + 2), and
 * log σ counted with weight g. */
CLONES static void row_backward(const real *restrict vt, const real *restrict vr, real st,
                                real sr, const real *restrict y, const real *restrict dz,
                                real g, real *restrict dy, real *restrict dvt,
                                real *restrict dvr, size_t w) {
  for (size_t x = 0; x < w; x++) {
    real t = v_tanh(vt[x] * st), r = v_tanh(vr[x] * sr), s = v_sigmoid(r + 2);
    real dt = dz[x] * s;
    real dr = (1 - s) * (g + dt * (y[x] + t));
    dy[x] = dt;
    dvt[x] = dt * (1 - t * t) * st;
    dvr[x] = dr * (1 - r * r) * sr;
  }
}

static void image_row_backward(const Coupling *c, const CouplingPlan *p, const Act *y2,
                               const real *v, const Act *dz2, const real *dlogdet,
                               const Act *dy2, real *dv, size_t r) {
  size_t n = r / p->h, row = r % p->h * p->w, plane = p->h * p->w;
  for (size_t ch = 0; ch < coupling_change(c); ch++) {
    size_t at = (n * out_channels(c) + 2 * ch) * plane + row;
    const real *logs = c->logs3->value + 2 * ch;
    row_backward(v + at, v + at + plane, v_exp(3 * logs[0]), v_exp(3 * logs[1]),
                 act_plane(y2, n, ch) + row, act_plane(dz2, n, ch) + row, dlogdet[n],
                 act_plane(dy2, n, ch) + row, dv + at, dv + at + plane, p->w);
  }
}

/* ---- tiles: from dv through the hidden layers ---- */

static void tile_backward(const Coupling *c, const CouplingPlan *p, const Act *y1,
                          const Act *hx, const Act *dv, const real *hidden,
                          const BackwardScratch *s, size_t t) {
  size_t rows = tile_rows(p, t), n = rows * p->w, w = c->width;
  size_t out9 = out_channels(c) * 9, in9 = in_channels(c) * 9;
  size_t at = tile_offset(p, t, w);
  const real *h1 = hidden + at, *h2 = hidden + w * p->pixels + at;
  real *da1 = s->da1 + at, *da2 = s->da2 + at, *sums = s->sums + 4 * w * t;
  real *dv_cols = s->dv_cols + tile_offset(p, t, out9);

  im2col_flipped(dv, &conv3x3, t * p->rows, rows, dv_cols, n);
  gemm(TRANS, NO_TRANS, w, n, out9, s->turned, w, dv_cols, n, 0, da2, n);
  norm_relu_backward(h2, da2, w, n, s->scale2, sums + 2 * w, sums + 3 * w);
  gemm(TRANS, NO_TRANS, w, n, w, c->conv2->value, w, da2, n, 0, da1, n);
  norm_relu_backward(h1, da1, w, n, s->scale1, sums, sums + w);
  gemm(TRANS, NO_TRANS, in9, n, w, c->conv1->value, in9, da1, n, 0,
       s->planes + tile_offset(p, t, in9), n);
  coupling_columns(c, p, hx, y1, t, s->in_cols + tile_offset(p, t, in9));
}

/* ---- weight gradients ---- */

typedef struct WeightGradients {
  real *w1, *w2;
  real beta1, beta2, beta3;
} WeightGradients;

/* dst[block] += Σ_tiles a_t[block]·b_tᵀ, a with `width` rows, b with k. */
static void sum_tiles(const CouplingPlan *p, const real *a, size_t width, size_t first,
                      size_t count, const real *b, size_t k, real beta, real *dst) {
  for (size_t t = 0; t < p->tiles; t++, beta = 1) {
    size_t n = tile_rows(p, t) * p->w;
    gemm(NO_TRANS, TRANS, count, k, n, a + tile_offset(p, t, width) + first * n, n,
         b + tile_offset(p, t, k), n, beta, dst + first * k, k);
  }
}

static void block_gradients(const Coupling *c, const CouplingPlan *p, const real *hidden,
                            const BackwardScratch *s, const WeightGradients *g,
                            size_t block, int which) {
  size_t w = c->width, first = block * CHANNEL_BLOCK;
  size_t count = w - first < CHANNEL_BLOCK ? w - first : CHANNEL_BLOCK;
  size_t out9 = out_channels(c) * 9, in9 = in_channels(c) * 9;
  if (which == 0) {
    sum_tiles(p, s->da2, w, first, count, hidden, w, g->beta2, g->w2);
  } else if (which == 1) {
    sum_tiles(p, s->da1, w, first, count, s->in_cols, in9, g->beta1, g->w1);
  } else {
    const real *h2 = hidden + w * p->pixels;
    for (size_t t = 0; t < p->tiles; t++) {
      size_t n = tile_rows(p, t) * p->w;
      gemm(NO_TRANS, TRANS, out9, count, n, s->dv_cols + tile_offset(p, t, out9), n,
           h2 + tile_offset(p, t, w) + first * n, n, t > 0, s->dturned + first, w);
    }
  }
}

/* Gradient of the network's input at image row r. */
static void input_row(const Coupling *c, const CouplingPlan *p, const real *planes,
                      const Act *dz1, const Act *dy1, const Act *dhx, size_t r) {
  size_t n = r / p->h, row = r % p->h * p->w, k = in_channels(c) * 9;
  for (size_t ch = 0; ch < c->cond; ch++)
    coupling_gather(p, planes, k, ch, r, -1, act_plane(dhx, n, ch) + row);
  for (size_t ch = 0; ch < coupling_keep1(c); ch++) {
    real *dst = act_plane(dy1, n, ch) + row;
    const real *src = act_plane(dz1, n, ch) + row;
    coupling_gather(p, planes, k, c->cond + ch, r, -1, dst);
    for (size_t x = 0; x < p->w; x++) dst[x] += src[x];
  }
}

/* ---- the small parameters ---- */

static void accumulate(real *g, size_t i, double sum, real beta) {
  g[i] = (beta == 0 ? 0 : g[i]) + (real)sum;
}

static void norm_gradient(Param *param, const CouplingPlan *p, const real *sums,
                          size_t width) {
  real beta;
  real *g = param_accumulate(param, &beta);
  for (size_t k = 0; k < width; k++) {
    double sum = 0;
    for (size_t t = 0; t < p->tiles; t++) sum += (double)sums[4 * width * t + k];
    accumulate(g, k, sum, beta);
  }
}

/* d bias3 = Σ dv;  d logs3 = 3·Σ dv·v, since dv already carries the scale. */
static void conv3_gradient(const Coupling *c, const CouplingPlan *p, const real *v,
                           const real *dv, size_t o, real *dbias, real bias_beta,
                           real *dlogs, real logs_beta) {
  double sum = 0, dot = 0;
  size_t plane = p->h * p->w;
  for (size_t n = 0; n < p->n; n++) {
    const real *a = v + (n * out_channels(c) + o) * plane;
    const real *d = dv + (n * out_channels(c) + o) * plane;
    for (size_t x = 0; x < plane; x++) {
      sum += (double)d[x];
      dot += (double)d[x] * (double)a[x];
    }
  }
  accumulate(dbias, o, sum, bias_beta);
  accumulate(dlogs, o, 3 * dot, logs_beta);
}

static void turn_back_add(const Coupling *c, const real *turned, real beta, real *dw) {
  for (size_t o = 0; o < out_channels(c); o++)
    for (size_t k = 0; k < c->width; k++, dw += 9)
      for (size_t i = 0; i < 9; i++) {
        real g = turned[(o * 9 + i) * c->width + k];
        dw[i] = beta == 0 ? g : dw[i] + g;
      }
}

void coupling_backward(const Coupling *c, const CouplingPlan *p, const Act *y,
                       const Act *hx, const real *hidden, const real *v, const Act *dz,
                       const real *dlogdet, const Act *dy, const Act *dhx, real *scratch,
                       int threads) {
  BackwardScratch s = backward_scratch(c, p, scratch);
  size_t keep = coupling_keep1(c), change = coupling_change(c);
  size_t blocks = (c->width + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
  Act y1 = act_channels(y, 0, keep), y2 = act_channels(y, keep, change);
  Act dy1 = act_channels(dy, 0, keep), dy2 = act_channels(dy, keep, change);
  Act dz1 = act_channels(dz, 0, keep), dz2 = act_channels(dz, keep, change);
  Act dv = act_nchw(s.dv, p->n, out_channels(c), p->h, p->w);
  WeightGradients g;
  real beta_bias3, beta_logs3;
  g.w1 = param_accumulate(c->conv1, &g.beta1);
  g.w2 = param_accumulate(c->conv2, &g.beta2);
  real *dw3 = param_accumulate(c->conv3, &g.beta3);
  real *dbias3 = param_accumulate(c->bias3, &beta_bias3);
  real *dlogs3 = param_accumulate(c->logs3, &beta_logs3);
  coupling_turn_conv3(c, s.turned);
  coupling_scales(c->logs1->value, c->width, s.scale1);
  coupling_scales(c->logs2->value, c->width, s.scale2);

#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (size_t r = 0; r < p->n * p->h; r++)
      image_row_backward(c, p, &y2, v, &dz2, dlogdet, &dy2, s.dv, r);
#pragma omp for schedule(static)
    for (size_t t = 0; t < p->tiles; t++)
      tile_backward(c, p, &y1, hx, &dv, hidden, &s, t);
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < 3 * blocks; i++)
      block_gradients(c, p, hidden, &s, &g, i % blocks, (int)(i / blocks));
#pragma omp for schedule(static) nowait
    for (size_t o = 0; o < out_channels(c); o++)
      conv3_gradient(c, p, v, s.dv, o, dbias3, beta_bias3, dlogs3, beta_logs3);
#pragma omp for schedule(static)
    for (size_t r = 0; r < p->n * p->h; r++)
      input_row(c, p, s.planes, &dz1, &dy1, dhx, r);
  }
  turn_back_add(c, s.dturned, g.beta3, dw3);
  norm_gradient(c->bias1, p, s.sums, c->width);
  norm_gradient(c->logs1, p, s.sums + c->width, c->width);
  norm_gradient(c->bias2, p, s.sums + 2 * c->width, c->width);
  norm_gradient(c->logs2, p, s.sums + 3 * c->width, c->width);
}

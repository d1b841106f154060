/* The backward pass of the affine coupling; see coupling.h.
 *
 * Rows first: from dz to dv.  Then waves of a few tiles: each tile's gradient
 * passes through the hidden layers, panel by panel, and while the wave is in
 * cache its products with the layers' inputs are added to the weight gradients,
 * by panels of their columns.  Last, by rows, the input's gradient.  Sums run in
 * the order of tiles, however many make a wave. */
#include <string.h>

#include "coupling.h"
#include "coupling_tiles.h"
#include "parallel.h"
#include "tiles.h"
#include "vmath.h"

/* Tiles of a wave for each thread. */
#define WAVE_TILES 2

/* What a tile of a wave leaves for the weight gradients. */
typedef struct WaveTile {
  real *dv_cols;   /* im2col of dv, [out·9, pixels] */
  real *in_cols;   /* im2col of h, transposed: panels [pixels][PANEL] */
  real *da1, *da2; /* panels: gradients of conv1's, conv2's output */
} WaveTile;

typedef struct BackwardScratch {
  real *turned, *dturned; /* conv3's weight and gradient, [out·9, width] */
  real *scale1, *scale2;
  real *dv;     /* [n, out, h, w] */
  real *planes; /* dh's nine shifted planes, tiled */
  real *sums;   /* for each tile: dbias1, dlogs1, dbias2, dlogs2 */
  real *wave, *threads;
  size_t dv_cols, in_cols, hidden, wave_tile; /* reals of a wave's tile */
  size_t panel, cols, thread_stride;          /* of a thread: panel, columns, lanes */
  size_t total;
} BackwardScratch;

static size_t wave_tiles(const CouplingPlan *p, int threads) {
  size_t most = WAVE_TILES * (size_t)threads;
  return p->tiles < most ? p->tiles : most;
}

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

static BackwardScratch backward_scratch(const Coupling *c, const CouplingPlan *p,
                                        real *base, int threads) {
  BackwardScratch s;
  size_t at = 0, out9 = out_channels(c) * 9, in9 = in_channels(c) * 9;
  s.dv_cols = round_up(out9 * full_tile(p));
  s.in_cols = panels_of(in9) * full_tile(p) * PANEL;
  s.hidden = paneled_tile(p, c->width);
  s.wave_tile = s.dv_cols + s.in_cols + 2 * s.hidden;
  s.panel = max_size(out9, full_tile(p)) * PANEL;
  s.cols = round_up(in9 * full_tile(p));
  s.thread_stride = s.panel + s.cols + 4 * c->width * LANES;
#define TAKE(field, count) s.field = base + at, at += round_up(count)
  TAKE(turned, out9 * c->width);
  TAKE(dturned, out9 * c->width);
  TAKE(scale1, c->width);
  TAKE(scale2, c->width);
  TAKE(dv, out_channels(c) * p->pixels);
  TAKE(planes, in9 * p->pixels);
  TAKE(sums, 4 * c->width * p->tiles);
  TAKE(wave, s.wave_tile * wave_tiles(p, threads));
  TAKE(threads, s.thread_stride * (size_t)threads);
#undef TAKE
  s.total = at;
  return s;
}

size_t coupling_backward_scratch(const Coupling *c, const CouplingPlan *p, int threads) {
  return backward_scratch(c, p, NULL, threads).total;
}

static WaveTile wave_tile(const BackwardScratch *s, size_t slot) {
  WaveTile w;
  w.dv_cols = s->wave + slot * s->wave_tile;
  w.in_cols = w.dv_cols + s->dv_cols;
  w.da1 = w.in_cols + s->in_cols;
  w.da2 = w.da1 + s->hidden;
  return w;
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

/* h's columns, transposed as the sums over pixels want them. */
static void keep_columns(const Coupling *c, const CouplingPlan *p, const Act *y1,
                         const Act *hx, size_t t, real *cols, real *kept) {
  size_t n = tile_pixels(p, t), in9 = in_channels(c) * 9;
  coupling_columns(c, p, hx, y1, t, cols);
  for (size_t k = 0; k < in9; k += PANEL, kept += n * PANEL)
    panel_transpose(cols + k * n, n, n, in9 - k < PANEL ? in9 - k : PANEL, kept);
}

static void tile_backward(const Coupling *c, const CouplingPlan *p, const Act *y1,
                          const Act *hx, const Act *dv, const real *hidden,
                          const BackwardScratch *s, size_t t, const WaveTile *to) {
  size_t n = tile_pixels(p, t), w = c->width;
  size_t out9 = out_channels(c) * 9, in9 = in_channels(c) * 9;
  const real *h1 = hidden + t * s->hidden, *h2 = h1 + p->tiles * s->hidden;
  real *planes = s->planes + tile_offset(p, t, in9);
  real *panel = s->threads + (size_t)omp_get_thread_num() * s->thread_stride;
  real *cols = panel + s->panel, *lanes = cols + s->cols;
  memset(lanes, 0, 4 * w * LANES * sizeof *lanes);
  im2col_flipped(dv, &conv3x3, t * p->rows, tile_rows(p, t), to->dv_cols, n);
  for (size_t q = 0; q < panels_of(n); q++) {
    size_t columns = panel_columns(n, q), at = panel_offset(q, w);
    real *da1 = to->da1 + at, *da2 = to->da2 + at;
    panel_pack(to->dv_cols + q * PANEL, n, out9, panel_pixels(n, q), panel);
    panel_product(w, columns, out9, left_columns(s->turned, w), panel, PANEL, NULL, da2,
                  PANEL);
    norm_relu_backward(h2 + at, da2, w, columns, s->scale2, lanes + 2 * w * LANES,
                       lanes + 3 * w * LANES);
    panel_product(w, columns, w, left_columns(c->conv2->value, w), da2, PANEL, NULL, da1,
                  PANEL);
    norm_relu_backward(h1 + at, da1, w, columns, s->scale1, lanes, lanes + w * LANES);
    panel_product(in9, panel_pixels(n, q), w, left_columns(c->conv1->value, in9), da1,
                  PANEL, NULL, planes + q * PANEL, n);
  }
  sum_lanes(lanes, 4 * w, s->sums + 4 * w * t);
  keep_columns(c, p, y1, hx, t, cols, to->in_cols);
}

/* ---- weight gradients ---- */

typedef struct WeightGradients {
  real *w1, *w2;
  real beta1, beta2, beta3;
} WeightGradients;

/* Rows first .. first+PANEL-1 of a hidden layer's tile, transposed. */
static void transpose_hidden(const real *tile, size_t width, size_t first, size_t n,
                             real *panel) {
  size_t rows = width - first < PANEL ? width - first : PANEL;
  for (size_t q = 0; q < panels_of(n); q++)
    panel_transpose(tile + panel_offset(q, width) + first * PANEL, PANEL,
                    panel_pixels(n, q), rows, panel + q * PANEL * PANEL);
}

static size_t columns_from(size_t all, size_t first) {
  return all - first < PANEL ? all - first : PANEL;
}

/* A panel of columns of one of the weight gradients, for one tile.  Panels are
 * numbered through conv2's, conv3's and conv1's columns. */
static void panel_gradient(const Coupling *c, const CouplingPlan *p, const real *hidden,
                           const BackwardScratch *s, const WeightGradients *g, size_t i,
                           size_t t, const WaveTile *from) {
  size_t n = tile_pixels(p, t), w = c->width, per_layer = panels_of(w);
  size_t out9 = out_channels(c) * 9, in9 = in_channels(c) * 9, j = i % per_layer * PANEL;
  const real *h1 = hidden + t * s->hidden, *h2 = h1 + p->tiles * s->hidden;
  real *panel = s->threads + (size_t)omp_get_thread_num() * s->thread_stride;
  if (i < per_layer) {
    transpose_hidden(h1, w, j, n, panel);
    panel_product(w, columns_from(w, j), n, left_panels(from->da2, w), panel, PANEL,
                  t > 0 || g->beta2 != 0 ? g->w2 + j : NULL, g->w2 + j, w);
  } else if (i < 2 * per_layer) {
    transpose_hidden(h2, w, j, n, panel);
    panel_product(out9, columns_from(w, j), n, left_rows(from->dv_cols, n), panel, PANEL,
                  t > 0 ? s->dturned + j : NULL, s->dturned + j, w);
  } else {
    j = (i - 2 * per_layer) * PANEL;
    panel_product(w, columns_from(in9, j), n, left_panels(from->da1, w),
                  from->in_cols + j * n, PANEL, t > 0 || g->beta1 != 0 ? g->w1 + j : NULL,
                  g->w1 + j, in9);
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

/* Output channel o of conv3's gradient, in its own order. */
static void turn_back(const Coupling *c, const real *turned, size_t o, real beta,
                      real *dw) {
  turned += o * 9 * c->width;
  dw += o * 9 * c->width;
  for (size_t k = 0; k < c->width; k++, dw += 9)
    for (size_t i = 0; i < 9; i++) {
      real g = turned[i * c->width + k];
      dw[i] = beta == 0 ? g : dw[i] + g;
    }
}

void coupling_backward(const Coupling *c, const CouplingPlan *p, const Act *y,
                       const Act *hx, const real *hidden, const real *v, const Act *dz,
                       const real *dlogdet, const Act *dy, const Act *dhx, real *scratch,
                       int threads) {
  BackwardScratch s = backward_scratch(c, p, scratch, threads);
  size_t keep = coupling_keep1(c), change = coupling_change(c);
  size_t panels = 2 * panels_of(c->width) + panels_of(in_channels(c) * 9);
  size_t wave = wave_tiles(p, threads);
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
  coupling_scales(c->logs1->value, c->width, s.scale1);
  coupling_scales(c->logs2->value, c->width, s.scale2);

#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static) nowait
    for (size_t o = 0; o < out_channels(c); o++) coupling_turn_conv3(c, o, s.turned);
#pragma omp for schedule(static)
    for (size_t r = 0; r < p->n * p->h; r++)
      image_row_backward(c, p, &y2, v, &dz2, dlogdet, &dy2, s.dv, r);
    for (size_t t0 = 0; t0 < p->tiles; t0 += wave) {
      size_t end = t0 + wave < p->tiles ? t0 + wave : p->tiles;
#pragma omp for schedule(static)
      for (size_t t = t0; t < end; t++) {
        WaveTile to = wave_tile(&s, t - t0);
        tile_backward(c, p, &y1, hx, &dv, hidden, &s, t, &to);
      }
#pragma omp for schedule(dynamic)
      for (size_t i = 0; i < panels; i++)
        for (size_t t = t0; t < end; t++) {
          WaveTile from = wave_tile(&s, t - t0);
          panel_gradient(c, p, hidden, &s, &g, i, t, &from);
        }
    }
#pragma omp for schedule(static) nowait
    for (size_t o = 0; o < out_channels(c); o++) {
      turn_back(c, s.dturned, o, g.beta3, dw3);
      conv3_gradient(c, p, v, s.dv, o, dbias3, beta_bias3, dlogs3, beta_logs3);
    }
#pragma omp for schedule(static)
    for (size_t r = 0; r < p->n * p->h; r++)
      input_row(c, p, s.planes, &dz1, &dy1, dhx, r);
  }
  norm_gradient(c->bias1, p, s.sums, c->width);
  norm_gradient(c->logs1, p, s.sums + c->width, c->width);
  norm_gradient(c->bias2, p, s.sums + 2 * c->width, c->width);
  norm_gradient(c->logs2, p, s.sums + 3 * c->width, c->width);
}

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
/* Panels of a wave whose products are summed at a time. */
#define SUM_PANELS ((size_t)8)

/* Panels are numbered from the first of the wave on where they lie in it. */
typedef struct BackwardScratch {
  real *turned, *dturned; /* conv3's weight and gradient, [out·9, width] */
  real *scale1, *scale2;
  real *dv;        /* [n, out, h, w] */
  real *planes;    /* dh's nine shifted planes, tiled */
  real *sums;      /* for each tile: dbias1, dlogs1, dbias2, dlogs2 */
  real *dv_cols;   /* the wave: im2col of dv, panels of out·9 rows */
  real *da1, *da2; /* the wave: gradients of conv1's, conv2's output, panels */
  real *in_cols;   /* the wave: im2col of h, transposed: panels of columns */
  real *threads;
  size_t wave;                 /* tiles */
  size_t in_panel;             /* reals of a panel of in_cols */
  size_t panel, thread_stride; /* of a thread: a panel, and a tile's columns */
  size_t total;
} BackwardScratch;

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

static inline size_t column_panels(size_t columns) {
  return (columns + PANEL - 1) / PANEL;
}

static BackwardScratch backward_scratch(const Coupling *c, const CouplingPlan *p,
                                        real *base, int threads) {
  BackwardScratch s;
  size_t at = 0, out9 = out_channels(c) * 9, in9 = in_channels(c) * 9;
  s.wave = WAVE_TILES * (size_t)threads;
  if (s.wave > p->tiles) s.wave = p->tiles;
  size_t panels = s.wave * p->panels;
  s.in_panel = panels * p->width * PANEL;
  s.panel = SUM_PANELS * PANEL * PANEL;
  s.thread_stride = s.panel + round_up(max_size(in9, out9) * full_tile(p));
#define TAKE(field, count) s.field = base + at, at += round_up(count)
  TAKE(turned, out9 * c->width);
  TAKE(dturned, out9 * c->width);
  TAKE(scale1, c->width);
  TAKE(scale2, c->width);
  TAKE(dv, out_channels(c) * p->pixels);
  TAKE(planes, in9 * p->pixels);
  TAKE(sums, 4 * c->width * p->tiles);
  TAKE(dv_cols, panel_offset(panels, out9));
  TAKE(da1, panel_offset(panels, c->width));
  TAKE(da2, panel_offset(panels, c->width));
  TAKE(in_cols, column_panels(in9) * s.in_panel);
  TAKE(threads, s.thread_stride * (size_t)threads);
#undef TAKE
  s.total = at;
  return s;
}

size_t coupling_backward_scratch(const Coupling *c, const CouplingPlan *p, int threads) {
  return backward_scratch(c, p, NULL, threads).total;
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

static real *own_panel(const BackwardScratch *s) {
  return s->threads + (size_t)omp_get_thread_num() * s->thread_stride;
}

/* h's columns, transposed as the sums over pixels want them; `first` is the
 * tile's first panel in the wave. */
static void keep_columns(const Coupling *c, const CouplingPlan *p, const Act *y1,
                         const Act *hx, size_t t, size_t first,
                         const BackwardScratch *s) {
  size_t n = tile_pixels(p, t), padded = tile_panels(p, t) * p->width;
  size_t in9 = in_channels(c) * 9;
  real *cols = own_panel(s) + s->panel;
  coupling_columns(c, p, hx, y1, t, cols);
  for (size_t j = 0; j < column_panels(in9); j++) {
    real *kept = s->in_cols + j * s->in_panel + first * p->width * PANEL;
    size_t left = in9 - j * PANEL;
    panel_transpose(cols + j * PANEL * n, n, n, left < PANEL ? left : PANEL, kept);
    memset(kept + n * PANEL, 0, (padded - n) * PANEL * sizeof *kept);
  }
}

static void keep_dv_columns(const Coupling *c, const CouplingPlan *p, const Act *dv,
                            size_t t, size_t first, const BackwardScratch *s) {
  size_t n = tile_pixels(p, t), out9 = out_channels(c) * 9;
  real *cols = own_panel(s) + s->panel;
  im2col_flipped(dv, &conv3x3, t * p->rows, tile_rows(p, t), cols, n);
  for (size_t q = 0; q < tile_panels(p, t); q++)
    panel_pack(cols + q * p->width, n, out9, panel_pixels(p, n, q),
               s->dv_cols + panel_offset(first + q, out9));
}

static void tile_backward(const Coupling *c, const CouplingPlan *p, const Act *y1,
                          const Act *hx, const Act *dv, const real *hidden,
                          const BackwardScratch *s, size_t t, size_t first) {
  size_t n = tile_pixels(p, t), w = c->width, width = p->width;
  size_t out9 = out_channels(c) * 9, in9 = in_channels(c) * 9;
  const real *h1 = hidden + panel_offset(t * p->panels, w);
  const real *h2 = h1 + panel_offset(all_panels(p), w);
  real *planes = s->planes + tile_offset(p, t, in9), *sums = s->sums + 4 * w * t;
  memset(sums, 0, 4 * w * sizeof *sums);
  keep_dv_columns(c, p, dv, t, first, s);
  for (size_t q = 0; q < tile_panels(p, t); q++) {
    size_t at = panel_offset(q, w);
    const real *d3 = s->dv_cols + panel_offset(first + q, out9);
    real *da1 = s->da1 + panel_offset(first + q, w);
    real *da2 = s->da2 + panel_offset(first + q, w);
    panel_product(w, width, out9, left_columns(s->turned, w), d3, PANEL, NULL, da2,
                  PANEL);
    norm_relu_backward(h2 + at, da2, w, width, s->scale2, sums + 2 * w, sums + 3 * w);
    panel_product(w, width, w, left_columns(c->conv2->value, w), da2, PANEL, NULL, da1,
                  PANEL);
    norm_relu_backward(h1 + at, da1, w, width, s->scale1, sums, sums + w);
    panel_product(in9, panel_pixels(p, n, q), w, left_columns(c->conv1->value, in9), da1,
                  PANEL, NULL, planes + q * width, n);
  }
  keep_columns(c, p, y1, hx, t, first, s);
}

/* ---- weight gradients ---- */

typedef struct WeightGradients {
  real *w1, *w2;
  real beta1, beta2, beta3;
} WeightGradients;

/* Some panels of a wave. */
typedef struct Span {
  size_t first; /* panel of the wave, counted over all tiles */
  size_t q, count;
} Span;

static inline size_t columns_from(size_t all, size_t j) {
  return all - j < PANEL ? all - j : PANEL;
}

/* to[i][j…] (+)= Σ over the span's pixels of d[i]·panel[pixel][…], for `rows` rows of
 * d; a row of `to` has `columns` numbers. */
static void sum_pixels(const CouplingPlan *p, const Span *at, const real *d, size_t rows,
                       const real *panel, size_t j, size_t columns, bool add, real *to) {
  Left left = left_panels(d + panel_offset(at->q, rows), rows, p->width);
  panel_product(rows, columns_from(columns, j), at->count * p->width, left, panel, PANEL,
                add ? to + j : NULL, to + j, columns);
}

/* The same with rows j … of a hidden layer, transposed, as the panel. */
static void sum_hidden(const CouplingPlan *p, const BackwardScratch *s, const Span *at,
                       const real *d, size_t rows, const real *hidden, size_t w, size_t j,
                       bool add, real *to) {
  real *panel = own_panel(s);
  for (size_t i = 0; i < at->count; i++)
    panel_transpose(hidden + panel_offset(at->first + at->q + i, w) + j * PANEL, PANEL,
                    p->width, columns_from(w, j), panel + i * p->width * PANEL);
  sum_pixels(p, at, d, rows, panel, j, w, add, to);
}

/* A span's part of 32 columns of a weight gradient: conv2's, conv3's and conv1's
 * columns are numbered through. */
static void column_gradient(const Coupling *c, const CouplingPlan *p, const real *hidden,
                            const BackwardScratch *s, const WeightGradients *g, size_t i,
                            const Span *at) {
  size_t w = c->width, out9 = out_channels(c) * 9, in9 = in_channels(c) * 9;
  size_t j = i * PANEL, layer = column_panels(w) * PANEL;
  bool later = at->first + at->q > 0; /* something is in the sums already */
  if (j < layer) {
    sum_hidden(p, s, at, s->da2, w, hidden, w, j, later || g->beta2 != 0, g->w2);
  } else if (j < 2 * layer) {
    const real *h2 = hidden + panel_offset(all_panels(p), w);
    sum_hidden(p, s, at, s->dv_cols, out9, h2, w, j - layer, later, s->dturned);
  } else {
    j -= 2 * layer;
    const real *panel = s->in_cols + j / PANEL * s->in_panel + at->q * p->width * PANEL;
    sum_pixels(p, at, s->da1, w, panel, j, in9, later || g->beta1 != 0, g->w1);
  }
}

static void wave_gradient(const Coupling *c, const CouplingPlan *p, const real *hidden,
                          const BackwardScratch *s, const WeightGradients *g, size_t i,
                          size_t first, size_t panels) {
  for (size_t q = 0; q < panels; q += SUM_PANELS) {
    Span at = {first, q, panels - q < SUM_PANELS ? panels - q : SUM_PANELS};
    column_gradient(c, p, hidden, s, g, i, &at);
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
  size_t panels = 2 * column_panels(c->width) + column_panels(in_channels(c) * 9);
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
    for (size_t t0 = 0; t0 < p->tiles; t0 += s.wave) {
      size_t end = t0 + s.wave < p->tiles ? t0 + s.wave : p->tiles,
             first = t0 * p->panels;
      size_t wave_panels = (end - 1 - t0) * p->panels + tile_panels(p, end - 1);
#pragma omp for schedule(static)
      for (size_t t = t0; t < end; t++)
        tile_backward(c, p, &y1, hx, &dv, hidden, &s, t, t * p->panels - first);
#pragma omp for schedule(dynamic)
      for (size_t i = 0; i < panels; i++)
        wave_gradient(c, p, hidden, &s, &g, i, first, wave_panels);
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

/* The backward pass of the affine coupling; see coupling.h.
 *
 * Pixels first: from dz to dv.  Then waves of a few tiles: each tile's gradient
 * passes through the hidden layers, panel by panel, and while the wave is in
 * cache its products with the layers' inputs are added to the weight gradients,
 * by panels of their columns.  Last, by rows, the input's gradient.  Sums run in
 * the order of tiles, however many make a wave. */
#include <string.h>

#include "coupling.h"
#include "coupling_conv.h"
#include "parallel.h"
#include "tiles.h"
#include "vmath.h"

/* Tiles of a wave for each thread. */
#define WAVE_TILES 2
/* Panels are numbered from the first of the wave on where they lie in it. */
typedef struct BackwardScratch {
  CouplingConv conv1, conv3;
  real *scale1, *scale2;
  real *dv;               /* [n, out, h, w] */
  real *planes;           /* dh's planes, tiled */
  real *sums;             /* for each tile: dbias1, dlogs1, dbias2, dlogs2 */
  real *dv_cols, *h_cols; /* the wave: columns of dv and of h, panels */
  real *da1, *da2;        /* the wave: gradients of conv1's, conv2's output, panels */
  real *largest2; /* in each block of conv2's gradient */
  real *threads;
  size_t wave;                 /* tiles */
  size_t panel, thread_stride; /* of a thread: a panel, and a tile's columns */
  size_t total;
} BackwardScratch;

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

static BackwardScratch backward_scratch(const Coupling *c, const CouplingPlan *p,
                                        real *base, int threads) {
  BackwardScratch s;
  size_t at = 0, in = in_channels(c), out = out_channels(c), w = c->width;
  size_t in_rows = column_rows(p, in), out_rows = column_rows(p, out);
  s.wave = WAVE_TILES * (size_t)threads;
  if (s.wave > p->tiles) s.wave = p->tiles;
  size_t panels = s.wave * p->panels;
  real *filters1, *filters3, *dfilters1, *dfilters3, *largest1, *largest3;
  s.panel = in_rows * PANEL;
  s.thread_stride = s.panel + round_up(max_size(in_rows, out_rows) * full_tile(p));
#define TAKE(to, count) to = base + at, at += round_up(count)
  TAKE(filters1, coupling_filter_count(p, in, w));
  TAKE(filters3, coupling_filter_count(p, out, w));
  TAKE(dfilters1, coupling_filter_count(p, in, w));
  TAKE(dfilters3, coupling_filter_count(p, out, w));
  TAKE(s.scale1, w);
  TAKE(s.scale2, w);
  TAKE(s.dv, out * p->pixels);
  TAKE(s.planes, in_rows * all_cells(p));
  TAKE(s.sums, 4 * w * p->tiles);
  TAKE(s.dv_cols, panel_offset(panels, out_rows));
  TAKE(s.h_cols, panel_offset(panels, in_rows));
  TAKE(s.da1, hidden_offset(c, p, panels));
  TAKE(s.da2, hidden_offset(c, p, panels));
  TAKE(largest1, column_rows(p, in) + coupling_blocks(c));
  TAKE(s.largest2, coupling_blocks(c));
  TAKE(largest3, coupling_blocks(c));
  TAKE(s.threads, s.thread_stride * (size_t)threads);
#undef TAKE
  s.conv1 = coupling_conv1(c, filters1, dfilters1);
  s.conv3 = coupling_conv3(c, filters3, dfilters3);
  s.conv1.largest = largest1;
  s.conv3.largest = largest3;
  s.total = at;
  return s;
}

size_t coupling_backward_scratch(const Coupling *c, const CouplingPlan *p, int threads) {
  return backward_scratch(c, p, NULL, threads).total;
}

/* ---- pixels: from dz, dlogdet to dy2 and dv ---- */

/* z = (y + t)·σ with t = tanh(vt·st), r = tanh(vr·sr), σ = sigmoid(r + 2), and
 * log σ counted with weight g. */
CLONES static void pixels_backward(const real *restrict vt, const real *restrict vr,
                                   real st, real sr, const real *restrict y,
                                   const real *restrict dz, real g, real *restrict dy,
                                   real *restrict dvt, real *restrict dvr, size_t n) {
  for (size_t x = 0; x < n; x++) {
    real t = v_tanh(vt[x] * st), r = v_tanh(vr[x] * sr), s = v_sigmoid(r + 2);
    real dt = dz[x] * s;
    real dr = (1 - s) * (g + dt * (y[x] + t));
    dy[x] = dt;
    dvt[x] = dt * (1 - t * t) * st;
    dvr[x] = dr * (1 - r * r) * sr;
  }
}

static void run_backward(const Coupling *c, const CouplingPlan *p, const Act *y2,
                         const real *v, const Act *dz2, const real *dlogdet,
                         const Act *dy2, real *dv, Run run) {
  size_t plane = p->h * p->w;
  for (size_t ch = 0; ch < coupling_change(c); ch++) {
    size_t at = (run.n * out_channels(c) + 2 * ch) * plane + run.at;
    const real *logs = c->logs3->value + 2 * ch;
    pixels_backward(v + at, v + at + plane, v_exp(3 * logs[0]), v_exp(3 * logs[1]),
                    act_plane(y2, run.n, ch) + run.at, act_plane(dz2, run.n, ch) + run.at,
                    dlogdet[run.n], act_plane(dy2, run.n, ch) + run.at, dv + at,
                    dv + at + plane, run.pixels);
  }
}

/* ---- tiles: from dv through the hidden layers ---- */

static real *own_panel(const BackwardScratch *s) {
  return s->threads + (size_t)omp_get_thread_num() * s->thread_stride;
}

/* A tile's columns, as panels; `first` is its first panel in the wave. */
static void keep_columns(const CouplingPlan *p, const real *cols, size_t rows, size_t t,
                         size_t first, real *kept) {
  size_t n = tile_cells(p, t);
  for (size_t q = 0; q < tile_panels(p, t); q++)
    panel_pack(cols + q * p->width, n, rows, panel_cells(p, n, q),
               kept + panel_offset(first + q, rows));
}

static void tile_backward(const Coupling *c, const CouplingPlan *p, const Act *y1,
                          const Act *hx, const Act *dv, const real *hidden,
                          const BackwardScratch *s, size_t t, size_t first) {
  size_t w = c->width, in_rows = column_rows(p, in_channels(c)),
         out_rows = column_rows(p, out_channels(c));
  const real *h1 = hidden + hidden_offset(c, p, t * p->panels);
  const real *h2 = h1 + hidden_offset(c, p, all_panels(p));
  real *panel = own_panel(s), *cols = panel + s->panel, *sums = s->sums + 4 * w * t;
  memset(sums, 0, 4 * w * sizeof *sums);
  coupling_dv_columns(p, dv, t, cols);
  keep_columns(p, cols, out_rows, t, first, s->dv_cols);
  for (size_t q = 0; q < tile_panels(p, t); q++) {
    size_t at = hidden_offset(c, p, q);
    real *da1 = s->da1 + hidden_offset(c, p, first + q);
    real *da2 = s->da2 + hidden_offset(c, p, first + q);
    coupling_widen(&s->conv3, p, 0, s->dv_cols + panel_offset(first + q, out_rows), false,
                   da2);
    for (size_t i = 0; i < cell_pixels(p); i++) {
      size_t pixel = panel_offset(i, w);
      real *d1 = da1 + pixel, *d2 = da2 + pixel;
      norm_relu_backward(h2 + at + pixel, d2, w, p->width, s->scale2, sums + 2 * w,
                         sums + 3 * w);
      panel_product(w, p->width, w, left_columns(c->conv2->value, w), d2, PANEL, NULL, d1,
                    PANEL);
      norm_relu_backward(h1 + at + pixel, d1, w, p->width, s->scale1, sums, sums + w);
    }
    coupling_narrow(&s->conv1, p, t, q, da1, panel, s->planes);
  }
  coupling_columns(p, hx, y1, t, cols);
  keep_columns(p, cols, in_rows, t, first, s->h_cols);
}

/* ---- weight gradients ---- */

/* The part of a wave of `count` panels from `first` on, in 32 columns of a weight
 * gradient: conv2's, conv3's and conv1's are numbered through. */
static void wave_gradient(const Coupling *c, const CouplingPlan *p, const real *hidden,
                          const BackwardScratch *s, real *dw2, real beta2, size_t i,
                          size_t first, size_t count) {
  size_t w = c->width, blocks = coupling_blocks(c);
  bool later = first > 0; /* something is in the sums already */
  bool last = first + count == all_panels(p);
  const real *h1 = hidden + hidden_offset(c, p, first);
  const real *h2 = h1 + hidden_offset(c, p, all_panels(p));
  if (i < blocks) {
    coupling_sum(p, s->da2, w, h1, w, i, count * cell_pixels(p), later || beta2 != 0,
                 dw2 + i * PANEL, w);
    if (last)
      s->largest2[i] = gradient_largest(dw2 + i * PANEL, w, panel_columns(w, i), w);
  } else if (i < blocks + coupling_sum_blocks(&s->conv3, p)) {
    coupling_conv_sum(&s->conv3, p, s->dv_cols, h2, i - blocks, count, later, last);
  } else {
    coupling_conv_sum(&s->conv1, p, s->h_cols, s->da1,
                      i - blocks - coupling_sum_blocks(&s->conv3, p), count, later, last);
  }
}

/* Gradient of the network's input at image row r. */
static void input_row(const Coupling *c, const CouplingPlan *p, const BackwardScratch *s,
                      const Act *dz1, const Act *dy1, const Act *dhx, size_t r) {
  size_t n = r / p->h, row = r % p->h * p->w;
  for (size_t ch = 0; ch < c->cond; ch++)
    coupling_gather(&s->conv1, p, s->planes, ch, r, act_plane(dhx, n, ch) + row);
  for (size_t ch = 0; ch < coupling_keep1(c); ch++) {
    real *dst = act_plane(dy1, n, ch) + row;
    const real *src = act_plane(dz1, n, ch) + row;
    coupling_gather(&s->conv1, p, s->planes, c->cond + ch, r, dst);
    for (size_t x = 0; x < p->w; x++) dst[x] += src[x];
  }
}

/* ---- the small parameters ---- */

static void accumulate(real *g, size_t i, double sum, real beta) {
  g[i] = (beta == 0 ? 0 : g[i]) + (real)sum;
}

/* Where to add a parameter's gradient, and the factor for what is there. */
typedef struct Gradient {
  real *g, beta;
} Gradient;

static Gradient gradient_of(Param *p) {
  Gradient to;
  to.g = param_accumulate(p, &to.beta);
  return to;
}

/* Add up n numbers of each tile's sums. */
CLONES static void norm_sums(const real *sums, size_t stride, size_t tiles, size_t n,
                             Gradient to) {
  double total[PANEL] = {0};
  for (size_t t = 0; t < tiles; t++, sums += stride)
    for (size_t k = 0; k < n; k++) total[k] += (double)sums[k];
  for (size_t k = 0; k < n; k++) accumulate(to.g, k, total[k], to.beta);
}

/* Those of the two norms, for block b: bias1, logs1, bias2, logs2. */
static void norm_gradients(const Coupling *c, const CouplingPlan *p, const real *sums,
                           size_t b, const Gradient *to) {
  for (size_t i = 0; i < 4; i++)
    norm_sums(sums + i * c->width + b * PANEL, 4 * c->width, p->tiles,
              panel_columns(c->width, b), (Gradient){to[i].g + b * PANEL, to[i].beta});
}

/* Σ d and Σ d·v over a plane. */
CLONES static void plane_sums(const real *d, const real *v, size_t n, double *sum,
                              double *dot) {
  double s = 0, t = 0;
#pragma omp simd reduction(+ : s, t)
  for (size_t x = 0; x < n; x++) {
    s += (double)d[x];
    t += (double)d[x] * (double)v[x];
  }
  *sum += s;
  *dot += t;
}

/* d bias3 = Σ dv;  d logs3 = 3·Σ dv·v, since dv already carries the scale. */
static void conv3_gradient(const Coupling *c, const CouplingPlan *p, const real *v,
                           const real *dv, size_t o, Gradient dbias, Gradient dlogs) {
  double sum = 0, dot = 0;
  size_t plane = p->h * p->w;
  for (size_t n = 0; n < p->n; n++) {
    size_t at = (n * out_channels(c) + o) * plane;
    plane_sums(dv + at, v + at, plane, &sum, &dot);
  }
  accumulate(dbias.g, o, sum, dbias.beta);
  accumulate(dlogs.g, o, 3 * dot, dlogs.beta);
}

static real largest_of(const real *blocks, size_t n) {
  return gradient_largest(blocks, 1, n, 0);
}

void coupling_backward(const Coupling *c, const CouplingPlan *p, const Act *y,
                       const Act *hx, const real *hidden, const real *v, const Act *dz,
                       const real *dlogdet, const Act *dy, const Act *dhx, real *scratch,
                       int threads) {
  BackwardScratch s = backward_scratch(c, p, scratch, threads);
  size_t keep = coupling_keep1(c), change = coupling_change(c);
  size_t blocks = coupling_blocks(c);
  size_t sums =
      blocks + coupling_sum_blocks(&s.conv1, p) + coupling_sum_blocks(&s.conv3, p);
  Act y1 = act_channels(y, 0, keep), y2 = act_channels(y, keep, change);
  Act dy1 = act_channels(dy, 0, keep), dy2 = act_channels(dy, keep, change);
  Act dz1 = act_channels(dz, 0, keep), dz2 = act_channels(dz, keep, change);
  Act dv = act_nchw(s.dv, p->n, out_channels(c), p->h, p->w);
  Gradient dw2 = gradient_of(c->conv2);
  Gradient dbias3 = gradient_of(c->bias3), dlogs3 = gradient_of(c->logs3);
  Gradient norms[] = {gradient_of(c->bias1), gradient_of(c->logs1), gradient_of(c->bias2),
                      gradient_of(c->logs2)};
  s.conv1.dweight = param_accumulate(c->conv1, &s.conv1.beta);
  s.conv3.dweight = param_accumulate(c->conv3, &s.conv3.beta);
  coupling_scales(c->logs1->value, c->width, s.scale1);
  coupling_scales(c->logs2->value, c->width, s.scale2);

#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static) nowait
    for (size_t b = 0; b < blocks; b++) {
      coupling_filters(&s.conv1, p, b);
      coupling_filters(&s.conv3, p, b);
    }
#pragma omp for schedule(static)
    for (size_t i = 0; i < p->n * sample_runs(p); i++)
      run_backward(c, p, &y2, v, &dz2, dlogdet, &dy2, s.dv, run_at(p, i));
    for (size_t t0 = 0; t0 < p->tiles; t0 += s.wave) {
      size_t end = t0 + s.wave < p->tiles ? t0 + s.wave : p->tiles,
             first = t0 * p->panels;
      size_t wave_panels = (end - 1 - t0) * p->panels + tile_panels(p, end - 1);
#pragma omp for schedule(static)
      for (size_t t = t0; t < end; t++)
        tile_backward(c, p, &y1, hx, &dv, hidden, &s, t, t * p->panels - first);
#pragma omp for schedule(dynamic)
      for (size_t i = 0; i < sums; i++)
        wave_gradient(c, p, hidden, &s, dw2.g, dw2.beta, i, first, wave_panels);
    }
#pragma omp for schedule(static) nowait
    for (size_t b = 0; b < blocks; b++) {
      coupling_filters_back(&s.conv1, p, b);
      coupling_filters_back(&s.conv3, p, b);
      norm_gradients(c, p, s.sums, b, norms);
    }
#pragma omp for schedule(static) nowait
    for (size_t o = 0; o < out_channels(c); o++)
      conv3_gradient(c, p, v, s.dv, o, dbias3, dlogs3);
#pragma omp for schedule(static)
    for (size_t r = 0; r < p->n * p->h; r++) input_row(c, p, &s, &dz1, &dy1, dhx, r);
  }
  c->conv1->largest = largest_of(s.conv1.largest, coupling_sum_blocks(&s.conv1, p));
  c->conv2->largest = largest_of(s.largest2, blocks);
  c->conv3->largest = largest_of(s.conv3.largest, coupling_sum_blocks(&s.conv3, p));
}

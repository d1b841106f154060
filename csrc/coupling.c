#include "coupling.h"

#include <math.h>
#include <string.h>

#include "coupling_conv.h"
#include "gemm.h"
#include "parallel.h"
#include "tiles.h"
#include "vmath.h"

/* Pixels of a tile: as many as there are small images' worth of threads, but
 * no more than keep their columns in the second-level cache. */
#define TILE_PIXELS 256
#define TILES_WANTED 4
/* So many squares repay the transforms of the weights. */
#define SQUARES_WANTED 64

static size_t panels_of(size_t cells, size_t width) {
  return (cells + width - 1) / width;
}

/* The most rows whose cells fill their panels best. */
static size_t rows_of_tile(size_t most, size_t w, size_t width) {
  size_t best = 1, best_panels = panels_of(w, width);
  for (size_t rows = 2; rows <= most; rows++) {
    size_t panels = panels_of(rows * w, width);
    if (panels * best <= best_panels * rows) best = rows, best_panels = panels;
  }
  return best;
}

CouplingPlan coupling_plan(size_t n, size_t h, size_t w) {
  CouplingPlan p = {.n = n, .h = h, .w = w, .pixels = n * h * w};
  p.side = h % 2 == 0 && w % 2 == 0 && p.pixels / 4 >= SQUARES_WANTED ? 2 : 1;
  p.high = h / p.side;
  p.wide = w / p.side;
  size_t cells = all_cells(&p) / TILES_WANTED, most = TILE_PIXELS / cell_pixels(&p);
  if (cells > most) cells = most;
  /* A half-empty register costs less than an idle thread. */
  p.width = cells < PANEL ? PANEL / 2 : PANEL;
  if (cells < p.width) cells = p.width;
  p.rows = rows_of_tile(cells / p.wide, p.wide, p.width);
  p.tiles = panels_of(n * p.high, p.rows);
  p.panels = panels_of(full_tile(&p), p.width);
  return p;
}

size_t coupling_hidden_count(const Coupling *c, const CouplingPlan *p) {
  return 2 * hidden_offset(c, p, all_panels(p));
}

size_t coupling_v_count(const Coupling *c, const CouplingPlan *p) {
  return out_channels(c) * p->pixels;
}

void coupling_scales(const real *logs, size_t n, real *out) {
  for (size_t i = 0; i < n; i++) out[i] = v_exp(logs[i]);
}

/* ---- forward ---- */

/* Scratch of the network: filters, two rows of scales, the planes of conv3, and for
 * each thread a tile's columns, a panel of them, and the hidden layers of a panel. */
typedef struct NetworkScratch {
  CouplingConv conv1, conv3;
  real *scale1, *scale2, *planes, *threads;
  size_t cols, panel, thread_stride, total;
} NetworkScratch;

typedef struct ThreadScratch {
  real *cols, *panel, *h1, *h2;
} ThreadScratch;

static NetworkScratch network_scratch(const Coupling *c, const CouplingPlan *p,
                                      real *base, int threads) {
  NetworkScratch s;
  size_t at = 0, in = in_channels(c), out = out_channels(c);
  real *filters1, *filters3;
#define TAKE(to, count) to = base + at, at += round_up(count)
  TAKE(filters1, coupling_filter_count(p, in, c->width));
  TAKE(filters3, coupling_filter_count(p, out, c->width));
  TAKE(s.scale1, c->width);
  TAKE(s.scale2, c->width);
  TAKE(s.planes, column_rows(p, out) * all_cells(p));
  s.cols = round_up(column_rows(p, in) * full_tile(p));
  s.panel = column_rows(p, in > out ? in : out) * PANEL;
  s.thread_stride = s.cols + s.panel + 2 * hidden_offset(c, p, 1);
  TAKE(s.threads, s.thread_stride * (size_t)threads);
#undef TAKE
  s.conv1 = coupling_conv1(c, filters1, NULL);
  s.conv3 = coupling_conv3(c, filters3, NULL);
  s.total = at;
  return s;
}

static ThreadScratch thread_scratch(const Coupling *c, const CouplingPlan *p,
                                    const NetworkScratch *s, int thread) {
  ThreadScratch own;
  own.cols = s->threads + (size_t)thread * s->thread_stride;
  own.panel = own.cols + s->cols;
  own.h1 = own.panel + s->panel;
  own.h2 = own.h1 + hidden_offset(c, p, 1);
  return own;
}

size_t coupling_forward_scratch(const Coupling *c, const CouplingPlan *p, int threads) {
  return network_scratch(c, p, NULL, threads).total;
}

/* The precomputed part of conv1 for `n` cells from `cell` on, as panels. */
static void panels_of_pre(const Coupling *c, const CouplingPlan *p,
                          const CouplingInput *in, size_t cell, size_t n, real *h1) {
  size_t plane = p->h * p->w;
  for (size_t run; n > 0; n -= run, cell += run, h1 += run) {
    size_t row = cell / p->wide, x = cell % p->wide;
    const real *src = in->pre + row / p->high / in->repeat * c->width * plane +
                      row % p->high * p->side * p->w + x * p->side;
    run = p->wide - x < n ? p->wide - x : n;
    for (size_t i = 0; i < cell_pixels(p); i++)
      for (size_t k = 0; k < c->width; k++)
        gather_every(src + k * plane + i / p->side * p->w + i % p->side, p->side, run,
                     h1 + (i * c->width + k) * PANEL);
  }
}

/* Panel q of tile t through conv1 without its norm; cols is the whole tile's. */
static void conv1_panel(const Coupling *c, const CouplingPlan *p, const CouplingInput *in,
                        size_t t, size_t q, const CouplingConv *conv,
                        const ThreadScratch *own, real *h1) {
  size_t n = tile_cells(p, t), count = panel_cells(p, n, q), at = q * p->width;
  size_t first = in->pre ? c->cond : 0;
  if (in->pre != NULL) panels_of_pre(c, p, in, t * full_tile(p) + at, count, h1);
  panel_pack(own->cols + at, n, column_rows(p, conv->few - first), count, own->panel);
  coupling_widen(conv, p, first, own->panel, in->pre != NULL, h1);
}

/* hidden1, hidden2: where the tile's hidden layers are kept, or NULL. */
static void network_tile(const Coupling *c, const CouplingPlan *p,
                         const CouplingInput *in, size_t t, const NetworkScratch *s,
                         const ThreadScratch *own, real *hidden1, real *hidden2) {
  size_t w = c->width;
  coupling_columns(p, &in->hx, &in->y1, t, own->cols);
  for (size_t q = 0; q < tile_panels(p, t); q++) {
    real *h1 = hidden1 ? hidden1 + hidden_offset(c, p, q) : own->h1;
    real *h2 = hidden2 ? hidden2 + hidden_offset(c, p, q) : own->h2;
    conv1_panel(c, p, in, t, q, &s->conv1, own, h1);
    for (size_t i = 0; i < cell_pixels(p); i++) {
      real *a = h1 + panel_offset(i, w), *b = h2 + panel_offset(i, w);
      norm_relu(a, w, p->width, c->bias1->value, s->scale1);
      panel_product(w, p->width, w, left_rows(c->conv2->value, w), a, PANEL, NULL, b,
                    PANEL);
      norm_relu(b, w, p->width, c->bias2->value, s->scale2);
    }
    coupling_narrow(&s->conv3, p, t, q, h2, own->panel, s->planes);
  }
}

static void v_row(const Coupling *c, const CouplingPlan *p, const NetworkScratch *s,
                  size_t r, real *v) {
  size_t n = r / p->h, y = r % p->h, out = out_channels(c);
  for (size_t o = 0; o < out; o++) {
    real *dst = v + ((n * out + o) * p->h + y) * p->w;
    coupling_gather(&s->conv3, p, s->planes, o, r, dst);
    real b = c->bias3->value[o];
    for (size_t x = 0; x < p->w; x++) dst[x] += b;
  }
}

void coupling_network(const Coupling *c, const CouplingPlan *p, const CouplingInput *in,
                      real *hidden, real *v, real *scratch, int threads) {
  NetworkScratch s = network_scratch(c, p, scratch, threads);
  size_t tile = hidden_offset(c, p, p->panels);
  size_t layer = hidden_offset(c, p, all_panels(p));
  coupling_scales(c->logs1->value, c->width, s.scale1);
  coupling_scales(c->logs2->value, c->width, s.scale2);
#pragma omp parallel num_threads(threads)
  {
    ThreadScratch own = thread_scratch(c, p, &s, omp_get_thread_num());
#pragma omp for schedule(static)
    for (size_t b = 0; b < coupling_blocks(c); b++) {
      coupling_filters(&s.conv1, p, b);
      coupling_filters(&s.conv3, p, b);
    }
#pragma omp for schedule(static)
    for (size_t t = 0; t < p->tiles; t++)
      network_tile(c, p, in, t, &s, &own, hidden ? hidden + t * tile : NULL,
                   hidden ? hidden + layer + t * tile : NULL);
#pragma omp for schedule(static)
    for (size_t r = 0; r < p->n * p->h; r++) v_row(c, p, &s, r, v);
  }
}

/* Reals of the columns of hx for a tile, in pixels whatever the cells. */
static size_t pre_columns(const Coupling *c, const CouplingPlan *p) {
  return round_up(c->cond * 9 * cell_pixels(p) * full_tile(p));
}

size_t coupling_precompute_scratch(const Coupling *c, const CouplingPlan *p,
                                   int threads) {
  return pre_columns(c, p) * (size_t)threads;
}

void coupling_precompute(const Coupling *c, const Act *hx, real *pre, real *scratch,
                         int threads) {
  CouplingPlan p = coupling_plan(1, hx->h, hx->w);
  size_t k = in_channels(c) * 9, kx = c->cond * 9, hw = hx->h * hx->w;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < hx->n; n++)
    for (size_t t = 0; t < p.tiles; t++) {
      Act x = act_sample(hx, n);
      real *cols = scratch + (size_t)omp_get_thread_num() * pre_columns(c, &p);
      size_t row0 = t * p.rows * p.side, rows = tile_rows(&p, t) * p.side, m = rows * p.w;
      im2col(&x, &conv3x3, p.h, p.w, row0, rows, cols, m);
      gemm(NO_TRANS, NO_TRANS, c->width, m, kx, c->conv1->value, k, cols, m, NULL,
           pre + n * c->width * hw + row0 * p.w, hw);
    }
}

/* ---- the transform ---- */

/* One logarithm for so many σ; their product cannot underflow: σ > 0.73. */
#define PRODUCT_PIXELS 256

/* At most PRODUCT_PIXELS of a channel: returns Π σ. */
CLONES static double transform_pixels(const real *vt, const real *vr, real st, real sr,
                                      const real *y, real *z, size_t n) {
  real sigma[PRODUCT_PIXELS];
  for (size_t x = 0; x < n; x++) {
    real t = v_tanh(vt[x] * st);
    sigma[x] = v_sigmoid(v_tanh(vr[x] * sr) + 2);
    z[x] = (y[x] + t) * sigma[x];
  }
  double product = 1;
  for (size_t x = 0; x < n; x++) product *= (double)sigma[x];
  return product;
}

CLONES static void invert_pixels(const real *vt, const real *vr, real st, real sr,
                                 const real *z, real *y, size_t n) {
  for (size_t x = 0; x < n; x++) {
    real t = v_tanh(vt[x] * st), s = v_sigmoid(v_tanh(vr[x] * sr) + 2);
    y[x] = z[x] / s - t;
  }
}

/* What a channel's transform reads of v: its shifts, raw scales and their factors. */
typedef struct VRun {
  const real *t, *r;
  real st, sr;
} VRun;

static inline VRun v_at(const Coupling *c, const CouplingPlan *p, const real *v, Run run,
                        size_t ch) {
  size_t plane = p->h * p->w, base = (run.n * out_channels(c) + 2 * ch) * plane + run.at;
  return (VRun){v + base, v + base + plane, v_exp(3 * c->logs3->value[2 * ch]),
                v_exp(3 * c->logs3->value[2 * ch + 1])};
}

/* Returns Σ log σ. */
static double transform_run(const Coupling *c, const CouplingPlan *p, const real *v,
                            const Act *y2, const Act *z2, Run run) {
  double log_sum = 0;
  for (size_t ch = 0; ch < coupling_change(c); ch++) {
    VRun a = v_at(c, p, v, run, ch);
    const real *src = act_plane(y2, run.n, ch) + run.at;
    real *dst = act_plane(z2, run.n, ch) + run.at;
    for (size_t x = 0; x < run.pixels; x += PRODUCT_PIXELS) {
      size_t n = run.pixels - x < PRODUCT_PIXELS ? run.pixels - x : PRODUCT_PIXELS;
      log_sum += log(transform_pixels(a.t + x, a.r + x, a.st, a.sr, src + x, dst + x, n));
    }
  }
  return log_sum;
}

void coupling_transform(const Coupling *c, const CouplingPlan *p, const real *v,
                        const Act *y2, const Act *z2, double *run_logs, double *logdet,
                        int threads) {
  size_t runs = sample_runs(p);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < p->n * runs; i++)
    run_logs[i] = transform_run(c, p, v, y2, z2, run_at(p, i));
  for (size_t n = 0; n < p->n; n++) {
    logdet[n] = 0;
    for (size_t i = 0; i < runs; i++) logdet[n] += run_logs[n * runs + i];
  }
}

void coupling_invert(const Coupling *c, const CouplingPlan *p, const real *v,
                     const Act *z2, const Act *y2, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < p->n * sample_runs(p); i++) {
    Run run = run_at(p, i);
    for (size_t ch = 0; ch < coupling_change(c); ch++) {
      VRun a = v_at(c, p, v, run, ch);
      invert_pixels(a.t, a.r, a.st, a.sr, act_plane(z2, run.n, ch) + run.at,
                    act_plane(y2, run.n, ch) + run.at, run.pixels);
    }
  }
}

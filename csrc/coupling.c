#include "coupling.h"

#include <math.h>
#include <string.h>

#include "coupling_tiles.h"
#include "gemm.h"
#include "parallel.h"
#include "tiles.h"
#include "vmath.h"

/* Pixels of a tile: as many as there are small images' worth of threads, but
 * no more than keep their columns in the second-level cache. */
#define TILE_PIXELS 256
#define TILES_WANTED 4

static size_t panels_of(size_t pixels, size_t width) {
  return (pixels + width - 1) / width;
}

/* The most rows whose pixels fill their panels best. */
static size_t rows_of_tile(size_t most, size_t w, size_t width) {
  size_t best = 1, best_panels = panels_of(w, width);
  for (size_t rows = 2; rows <= most; rows++) {
    size_t panels = panels_of(rows * w, width);
    if (panels * best <= best_panels * rows) best = rows, best_panels = panels;
  }
  return best;
}

CouplingPlan coupling_plan(size_t n, size_t h, size_t w) {
  CouplingPlan p = {n, h, w, 0, 0, 0, 0, n * h * w};
  size_t pixels = p.pixels / TILES_WANTED;
  if (pixels > TILE_PIXELS) pixels = TILE_PIXELS;
  /* A half-empty register costs less than an idle thread. */
  p.width = pixels < PANEL ? PANEL / 2 : PANEL;
  if (pixels < p.width) pixels = p.width;
  p.rows = rows_of_tile(pixels / w, w, p.width);
  p.tiles = panels_of(n * h, p.rows);
  p.panels = panels_of(p.rows * w, p.width);
  return p;
}

size_t coupling_hidden_count(const Coupling *c, const CouplingPlan *p) {
  return 2 * panel_offset(all_panels(p), c->width);
}

size_t coupling_v_count(const Coupling *c, const CouplingPlan *p) {
  return out_channels(c) * p->pixels;
}

void coupling_turn_conv3(const Coupling *c, size_t o, real *turned) {
  const real *w = c->conv3->value + o * c->width * 9;
  turned += o * 9 * c->width;
  for (size_t k = 0; k < c->width; k++, w += 9)
    for (size_t i = 0; i < 9; i++) turned[i * c->width + k] = w[i];
}

void coupling_scales(const real *logs, size_t n, real *out) {
  for (size_t i = 0; i < n; i++) out[i] = v_exp(logs[i]);
}

/* ---- forward ---- */

/* Scratch of the network: turned conv3, two rows of scales, all nine shifted
 * planes, and for each thread a tile's columns, a panel of them, and a panel of
 * each hidden layer. */
typedef struct NetworkScratch {
  real *turned, *scale1, *scale2, *planes, *threads;
  size_t cols, thread_stride, total;
} NetworkScratch;

typedef struct ThreadScratch {
  real *cols, *panel, *h1, *h2;
} ThreadScratch;

static NetworkScratch network_scratch(const Coupling *c, const CouplingPlan *p,
                                      real *base, int threads) {
  NetworkScratch s;
  size_t at = 0, planes = out_channels(c) * 9, in9 = in_channels(c) * 9;
#define TAKE(field, count) s.field = base + at, at += round_up(count)
  TAKE(turned, planes * c->width);
  TAKE(scale1, c->width);
  TAKE(scale2, c->width);
  TAKE(planes, planes * p->pixels);
  s.cols = round_up(in9 * full_tile(p));
  s.thread_stride = s.cols + (in9 + 2 * c->width) * PANEL;
  TAKE(threads, s.thread_stride * (size_t)threads);
#undef TAKE
  s.total = at;
  return s;
}

static ThreadScratch thread_scratch(const Coupling *c, const NetworkScratch *s,
                                    int thread) {
  ThreadScratch own;
  own.cols = s->threads + (size_t)thread * s->thread_stride;
  own.panel = own.cols + s->cols;
  own.h1 = own.panel + in_channels(c) * 9 * PANEL;
  own.h2 = own.h1 + c->width * PANEL;
  return own;
}

size_t coupling_forward_scratch(const Coupling *c, const CouplingPlan *p, int threads) {
  return network_scratch(c, p, NULL, threads).total;
}

void coupling_columns(const Coupling *c, const CouplingPlan *p, const Act *hx,
                      const Act *y1, size_t t, real *cols) {
  size_t rows = tile_rows(p, t), n = rows * p->w, row0 = t * p->rows;
  if (c->cond > 0) im2col(hx, &conv3x3, p->h, p->w, row0, rows, cols, n);
  im2col(y1, &conv3x3, p->h, p->w, row0, rows, cols + c->cond * 9 * n, n);
}

/* The precomputed part of conv1 for `n` pixels from `pixel` on, as a panel. */
static void panel_of_pre(const Coupling *c, const CouplingPlan *p,
                         const CouplingInput *in, size_t pixel, size_t n, real *h1) {
  size_t plane = p->h * p->w;
  for (size_t run; n > 0; n -= run, pixel += run, h1 += run) {
    const real *src =
        in->pre + pixel / plane / in->repeat * c->width * plane + pixel % plane;
    run = plane - pixel % plane < n ? plane - pixel % plane : n;
    for (size_t k = 0; k < c->width; k++)
      memcpy(h1 + k * PANEL, src + k * plane, run * sizeof *h1);
  }
}

/* Panel q of tile t through conv1 without its norm; cols is the whole tile's. */
static void conv1_panel(const Coupling *c, const CouplingPlan *p, const CouplingInput *in,
                        size_t t, size_t q, const ThreadScratch *own, real *h1) {
  size_t n = tile_pixels(p, t), count = panel_pixels(p, n, q), at = q * p->width;
  size_t k = in_channels(c) * 9, kx = in->pre ? c->cond * 9 : 0;
  if (in->pre != NULL) panel_of_pre(c, p, in, t * full_tile(p) + at, count, h1);
  panel_pack(own->cols + at, n, k - kx, count, own->panel);
  panel_product(c->width, p->width, k - kx, left_rows(c->conv1->value + kx, k),
                own->panel, PANEL, in->pre ? h1 : NULL, h1, PANEL);
}

/* hidden1, hidden2: where the tile's hidden layers are kept, or NULL. */
static void network_tile(const Coupling *c, const CouplingPlan *p,
                         const CouplingInput *in, size_t t, const NetworkScratch *s,
                         const ThreadScratch *own, real *hidden1, real *hidden2) {
  size_t n = tile_pixels(p, t), w = c->width, out9 = out_channels(c) * 9;
  real *planes = s->planes + tile_offset(p, t, out9);
  if (in->pre == NULL)
    coupling_columns(c, p, &in->hx, &in->y1, t, own->cols);
  else
    im2col(&in->y1, &conv3x3, p->h, p->w, t * p->rows, tile_rows(p, t), own->cols, n);
  for (size_t q = 0; q < tile_panels(p, t); q++) {
    real *h1 = hidden1 ? hidden1 + panel_offset(q, w) : own->h1;
    real *h2 = hidden2 ? hidden2 + panel_offset(q, w) : own->h2;
    conv1_panel(c, p, in, t, q, own, h1);
    norm_relu(h1, w, p->width, c->bias1->value, s->scale1);
    panel_product(w, p->width, w, left_rows(c->conv2->value, w), h1, PANEL, NULL, h2,
                  PANEL);
    norm_relu(h2, w, p->width, c->bias2->value, s->scale2);
    panel_product(out9, panel_pixels(p, n, q), w, left_rows(s->turned, w), h2, PANEL,
                  NULL, planes + q * p->width, n);
  }
}

void coupling_gather(const CouplingPlan *p, const real *planes, size_t k, size_t o,
                     size_t r, int sign, real *dst) {
  ptrdiff_t y = (ptrdiff_t)(r % p->h);
  memset(dst, 0, p->w * sizeof *dst);
  for (ptrdiff_t i = -1; i <= 1; i++) {
    ptrdiff_t yy = y + sign * i;
    if (yy < 0 || yy >= (ptrdiff_t)p->h) continue;
    size_t rr = (size_t)((ptrdiff_t)r + sign * i), row = o * 9 + (size_t)(i + 1) * 3;
    const real *left = tile_row(p, planes, k, row + (sign > 0 ? 0 : 2), rr);
    const real *mid = tile_row(p, planes, k, row + 1, rr);
    const real *right = tile_row(p, planes, k, row + (sign > 0 ? 2 : 0), rr);
    add_shifted(dst, left, mid, right, p->w);
  }
}

static void v_row(const Coupling *c, const CouplingPlan *p, const real *planes, size_t r,
                  real *v) {
  size_t n = r / p->h, y = r % p->h, out = out_channels(c);
  for (size_t o = 0; o < out; o++) {
    real *dst = v + ((n * out + o) * p->h + y) * p->w;
    coupling_gather(p, planes, out * 9, o, r, 1, dst);
    real b = c->bias3->value[o];
    for (size_t x = 0; x < p->w; x++) dst[x] += b;
  }
}

void coupling_network(const Coupling *c, const CouplingPlan *p, const CouplingInput *in,
                      real *hidden, real *v, real *scratch, int threads) {
  NetworkScratch s = network_scratch(c, p, scratch, threads);
  size_t tile = panel_offset(p->panels, c->width);
  size_t layer = panel_offset(all_panels(p), c->width);
  coupling_scales(c->logs1->value, c->width, s.scale1);
  coupling_scales(c->logs2->value, c->width, s.scale2);
#pragma omp parallel num_threads(threads)
  {
    ThreadScratch own = thread_scratch(c, &s, omp_get_thread_num());
#pragma omp for schedule(static)
    for (size_t o = 0; o < out_channels(c); o++) coupling_turn_conv3(c, o, s.turned);
#pragma omp for schedule(static)
    for (size_t t = 0; t < p->tiles; t++)
      network_tile(c, p, in, t, &s, &own, hidden ? hidden + t * tile : NULL,
                   hidden ? hidden + layer + t * tile : NULL);
#pragma omp for schedule(static)
    for (size_t r = 0; r < p->n * p->h; r++) v_row(c, p, s.planes, r, v);
  }
}

size_t coupling_precompute_scratch(const Coupling *c, const CouplingPlan *p,
                                   int threads) {
  return round_up(c->cond * 9 * full_tile(p)) * (size_t)threads;
}

void coupling_precompute(const Coupling *c, const Act *hx, real *pre, real *scratch,
                         int threads) {
  CouplingPlan p = coupling_plan(1, hx->h, hx->w);
  size_t k = in_channels(c) * 9, kx = c->cond * 9, stride = round_up(kx * full_tile(&p));
  size_t hw = hx->h * hx->w;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < hx->n; n++)
    for (size_t t = 0; t < p.tiles; t++) {
      Act x = act_sample(hx, n);
      real *cols = scratch + (size_t)omp_get_thread_num() * stride;
      size_t rows = tile_rows(&p, t), m = rows * p.w;
      im2col(&x, &conv3x3, p.h, p.w, t * p.rows, rows, cols, m);
      gemm(NO_TRANS, NO_TRANS, c->width, m, kx, c->conv1->value, k, cols, m, NULL,
           pre + n * c->width * hw + t * full_tile(&p), hw);
    }
}

/* ---- the transform ---- */

/* One logarithm for so many σ; their product cannot underflow: σ > 0.73. */
#define PRODUCT_PIXELS 256

/* One channel of an image row, at most PRODUCT_PIXELS of it: returns Π σ. */
CLONES static double transform_row(const real *vt, const real *vr, real st, real sr,
                                   const real *y, real *z, size_t w) {
  real sigma[PRODUCT_PIXELS];
  for (size_t x = 0; x < w; x++) {
    real t = v_tanh(vt[x] * st);
    sigma[x] = v_sigmoid(v_tanh(vr[x] * sr) + 2);
    z[x] = (y[x] + t) * sigma[x];
  }
  double product = 1;
  for (size_t x = 0; x < w; x++) product *= (double)sigma[x];
  return product;
}

CLONES static void invert_row(const real *vt, const real *vr, real st, real sr,
                              const real *z, real *y, size_t w) {
  for (size_t x = 0; x < w; x++) {
    real t = v_tanh(vt[x] * st), s = v_sigmoid(v_tanh(vr[x] * sr) + 2);
    y[x] = z[x] / s - t;
  }
}

typedef struct VRow {
  const real *t, *r;
  real st, sr;
} VRow;

static inline VRow v_at(const Coupling *c, const CouplingPlan *p, const real *v, size_t n,
                        size_t ch, size_t y) {
  size_t plane = p->h * p->w, base = (n * out_channels(c) + 2 * ch) * plane + y * p->w;
  return (VRow){v + base, v + base + plane, v_exp(3 * c->logs3->value[2 * ch]),
                v_exp(3 * c->logs3->value[2 * ch + 1])};
}

static double transform_image_row(const Coupling *c, const CouplingPlan *p, const real *v,
                                  const Act *y2, const Act *z2, size_t n, size_t y) {
  double log_sum = 0;
  for (size_t ch = 0; ch < coupling_change(c); ch++) {
    VRow a = v_at(c, p, v, n, ch, y);
    const real *src = act_plane(y2, n, ch) + y * p->w;
    real *dst = act_plane(z2, n, ch) + y * p->w;
    for (size_t x = 0; x < p->w; x += PRODUCT_PIXELS) {
      size_t w = p->w - x < PRODUCT_PIXELS ? p->w - x : PRODUCT_PIXELS;
      log_sum += log(transform_row(a.t + x, a.r + x, a.st, a.sr, src + x, dst + x, w));
    }
  }
  return log_sum;
}

void coupling_transform(const Coupling *c, const CouplingPlan *p, const real *v,
                        const Act *y2, const Act *z2, double *row_logs, double *logdet,
                        int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t r = 0; r < p->n * p->h; r++)
    row_logs[r] = transform_image_row(c, p, v, y2, z2, r / p->h, r % p->h);
  for (size_t n = 0; n < p->n; n++) {
    logdet[n] = 0;
    for (size_t y = 0; y < p->h; y++) logdet[n] += row_logs[n * p->h + y];
  }
}

void coupling_invert(const Coupling *c, const CouplingPlan *p, const real *v,
                     const Act *z2, const Act *y2, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t r = 0; r < p->n * p->h; r++)
    for (size_t ch = 0, n = r / p->h, y = r % p->h; ch < coupling_change(c); ch++) {
      VRow a = v_at(c, p, v, n, ch, y);
      invert_row(a.t, a.r, a.st, a.sr, act_plane(z2, n, ch) + y * p->w,
                 act_plane(y2, n, ch) + y * p->w, p->w);
    }
}

/* The coupling's network, forward: tile by tile, or channels of a few tiles at a time. */
#include "flow/coupling/coupling.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "base/vmath.h"
#include "flow/coupling/conv3x3.h"
#include "flow/coupling/pre.h"
#include "math/pairs.h"
#include "math/panel_ops.h"

/* Pixels of a tile: as many as there are small images' worth of threads, but
 * no more than keep their columns in the second-level cache. */
#define TILE_PIXELS 128
#define TILES_WANTED 8
/* The fewest squares for which Winograd's form repays the transforms of the weights; one
 * full panel of squares does, too, because a panel that is not full takes as long. */
#define SQUARES_WANTED 64

/* The most rows whose cells fill their panels best. */
static size_t rows_of_tile(size_t most, size_t w, size_t width) {
  size_t best = 1, best_panels = parts_of(w, width);
  for (size_t rows = 2; rows <= most; rows++) {
    size_t panels = parts_of(rows * w, width);
    if (panels * best <= best_panels * rows) best = rows, best_panels = panels;
  }
  return best;
}

/* Do cells of 2×2 pixels, in Winograd's form, pay?  The two ways round products
 * differently, so where products are rounded the choice does not depend on the number of
 * samples: a sample gives the same result among others. */
static bool squares_pay(const Coupling *c, size_t n, size_t h, size_t w) {
  size_t squares = h * w / 4;
  if (c->precision == PRECISION_BF16) return squares >= PANEL / 2;
  return n * squares >= SQUARES_WANTED || n * squares == PANEL;
}

CouplingPlan coupling_plan(const Coupling *c, size_t n, size_t h, size_t w) {
  CouplingPlan p = {.n = n, .h = h, .w = w, .pixels = n * h * w};
  p.side = h % 2 == 0 && w % 2 == 0 && squares_pay(c, n, h, w) ? 2 : 1;
  p.high = h / p.side;
  p.wide = w / p.side;
  bool one = all_cells(&p) <= PANEL; /* panel is all */
  size_t cells = one ? all_cells(&p) : all_cells(&p) / TILES_WANTED;
  size_t most = TILE_PIXELS / cell_pixels(&p);
  if (cells > most) cells = most;
  /* A half-empty register costs less than an idle thread. */
  p.width = cells < (one ? PANEL / 2 + 1 : PANEL) ? PANEL / 2 : PANEL;
  if (cells < p.width) cells = p.width;
  p.rows = rows_of_tile(cells / p.wide, p.wide, p.width);
  p.tiles = parts_of(n * p.high, p.rows);
  p.panels = parts_of(full_tile(&p), p.width);
  return p;
}

size_t coupling_hidden_count(const Coupling *c, const CouplingPlan *p) {
  return 2 * hidden_offset(c, p, all_panels(p));
}

void coupling_scales(const real *logs, size_t n, real *out) {
  for (size_t i = 0; i < n; i++) out[i] = v_exp(logs[i]);
}

/* ---- forward ---- */

/* Scratch of the network: filters, two rows of scales, conv2's weight in pairs if several
 * products read it that way (else NULL), the planes of conv3, and for
 * each thread a tile's columns, a panel of them, and the hidden layers of a panel.  If
 * threads share out the channels of tiles, columns and hidden layers of tile t lie with
 * thread t's. */
typedef struct NetworkScratch {
  CouplingConv conv1, conv3;
  real *scale1, *scale2, *pairs2, *planes, *threads;
  size_t cols, panel, thread_stride, total;
} NetworkScratch;

typedef struct ThreadScratch {
  real *cols, *panel, *h1, *h2;
} ThreadScratch;

static NetworkScratch network_scratch(const Coupling *c, const CouplingPlan *p,
                                      real *base, int threads) {
  NetworkScratch s = {.conv1 = coupling_conv1(c, NULL, NULL)};
  size_t at = 0, in = in_channels(c), out = out_channels(c);
  real *filters1, *filters3;
#define TAKE(to, count) to = base + at, at += round_up(count)
  TAKE(filters1, coupling_filter_count(p, in, c->width));
  TAKE(filters3, coupling_filter_count(p, out, c->width));
  TAKE(s.scale1, c->width);
  TAKE(s.scale2, c->width);
  if (coupling_in_pairs(c, p, threads)) TAKE(s.pairs2, c->width * pairs_row(c->width));
  TAKE(s.planes, column_rows(p, out) * all_cells(p));
  s.cols = round_up(column_rows(p, in) * full_tile(p));
  s.panel = column_rows(p, in > out ? in : out) * PANEL;
  s.thread_stride = s.cols + s.panel + 2 * hidden_offset(c, p, 1);
  TAKE(s.threads, s.thread_stride * (size_t)threads);
#undef TAKE
  s.conv1 = coupling_conv1(c, filters1, NULL);
  s.conv1.widens = true;
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

static bool has_pre(const CouplingInput *in) { return in->pre.data != NULL; }

/* Channels of h whose columns conv1 reads. */
static size_t read_channels(const Coupling *c, const CouplingInput *in) {
  return in_channels(c) - (has_pre(in) ? c->cond : 0);
}

/* Panel q of tile t through conv1 without its norm. */
static void conv1_panel(const Coupling *c, const CouplingPlan *p, const CouplingInput *in,
                        const CouplingConv *conv, Channels which, size_t t, size_t q,
                        const real *panel, real *h1) {
  size_t count = panel_cells(p, tile_cells(p, t), q);
  if (has_pre(in))
    coupling_panels_of_pre(c, p, &in->pre, in->repeat, which,
                           t * full_tile(p) + q * p->width, count, h1);
  coupling_widen(conv, p, which, panel, has_pre(in), h1);
}

/* One panel of a hidden layer, a pixel of its cells: the first's norm and ReLU. */
static void norm1_panel(const Coupling *c, const CouplingPlan *p, const NetworkScratch *s,
                        Channels which, real *h1) {
  norm_relu(h1 + which.first * PANEL, which.count, p->width,
            c->bias1->value + which.first, s->scale1 + which.first);
}

/* One panel of the second hidden layer from the first. */
static void conv2_panel(const Coupling *c, const CouplingPlan *p, const NetworkScratch *s,
                        Channels which, const real *h1, real *h2) {
  size_t w = c->width, ld = pairs_row(w);
  real *to = h2 + which.first * PANEL;
  Left left = s->pairs2 ? left_pairs(s->pairs2 + which.first * ld, ld)
                        : left_rows(c->conv2->value + which.first * w, w);
  panel_product(c->precision, which.count, p->width, w, left, h1, PANEL, NULL, to, PANEL);
  norm_relu(to, which.count, p->width, c->bias2->value + which.first,
            s->scale2 + which.first);
}

/* hidden1, hidden2: where the tile's hidden layers are kept, or NULL. */
static void network_tile(const Coupling *c, const CouplingPlan *p,
                         const CouplingInput *in, size_t t, const NetworkScratch *s,
                         const ThreadScratch *own, real *hidden1, real *hidden2) {
  Channels all = {0, c->width};
  size_t n = tile_cells(p, t), few = read_channels(c, in);
  coupling_columns(p, &in->hx, &in->y1, t, (Channels){0, few}, own->cols, n);
  for (size_t q = 0; q < tile_panels(p, t); q++) {
    real *h1 = hidden1 ? hidden1 + hidden_offset(c, p, q) : own->h1;
    real *h2 = hidden2 ? hidden2 + hidden_offset(c, p, q) : own->h2;
    panel_pack(own->cols + q * p->width, n, column_rows(p, few), panel_cells(p, n, q),
               own->panel);
    conv1_panel(c, p, in, &s->conv1, all, t, q, own->panel, h1);
    for (size_t i = 0; i < cell_pixels(p); i++) {
      size_t pixel = panel_offset(i, c->width);
      norm1_panel(c, p, s, all, h1 + pixel);
      conv2_panel(c, p, s, all, h1 + pixel, h2 + pixel);
    }
    coupling_narrow(&s->conv3, p, (Channels){0, s->conv3.few}, t, q, h2, own->panel,
                    s->planes);
  }
}

/* Row r of pixels of v from conv3's planes. */
static void v_row(const Coupling *c, const CouplingPlan *p, const NetworkScratch *s,
                  size_t r, real *v) {
  size_t n = r / p->h, y = r % p->h;
  for (size_t o = 0; o < out_channels(c); o++) {
    real *dst = v + ((n * out_channels(c) + o) * p->h + y) * p->w;
    coupling_gather(&s->conv3, p, s->planes, o, r, dst);
    real b = c->bias3->value[o];
    for (size_t x = 0; x < p->w; x++) dst[x] += b;
  }
}

/* ---- by all threads: tiles, or some channels of them ---- */

static size_t filter_pieces(const Coupling *c, const NetworkScratch *s) {
  return coupling_filter_pieces(c, &s->conv1) + coupling_filter_pieces(c, &s->conv3) +
         (s->pairs2 ? coupling_blocks(c) : 0);
}

/* Some rows of conv2's weight. */
static void make_pairs(const Coupling *c, const NetworkScratch *s, size_t b) {
  size_t w = c->width, ld = pairs_row(w), first = b * PANEL;
  pairs_of_rows(panel_columns(w, b), w, left_rows(c->conv2->value + first * w, w),
                s->pairs2 + first * ld, ld);
}

static void make_filters(const Coupling *c, const CouplingPlan *p,
                         const NetworkScratch *s, size_t i) {
  size_t first = coupling_filter_pieces(c, &s->conv1),
         second = first + coupling_filter_pieces(c, &s->conv3);
  if (i >= second)
    make_pairs(c, s, i - second);
  else
    coupling_filters(i < first ? &s->conv1 : &s->conv3, p, i < first ? i : i - first);
}

static void network_tiles(const Coupling *c, const CouplingPlan *p,
                          const CouplingInput *in, const NetworkScratch *s, real *hidden1,
                          real *hidden2) {
  ThreadScratch own = thread_scratch(c, p, s, omp_get_thread_num());
  size_t tile = hidden_offset(c, p, p->panels);
#pragma omp for schedule(static)
  for (size_t i = 0; i < filter_pieces(c, s); i++) make_filters(c, p, s, i);
#pragma omp for schedule(guided)
  for (size_t t = 0; t < p->tiles; t++)
    network_tile(c, p, in, t, s, &own, hidden1 ? hidden1 + t * tile : NULL,
                 hidden2 ? hidden2 + t * tile : NULL);
}

/* Piece i of what all others wait for: filters, then columns. */
static void begin_channels(const Coupling *c, const CouplingPlan *p,
                           const CouplingInput *in, const NetworkScratch *s, size_t i) {
  size_t filters = filter_pieces(c, s), few = read_channels(c, in);
  if (i < filters) {
    make_filters(c, p, s, i);
    return;
  }
  size_t t = (i - filters) % p->tiles, part = (i - filters) / p->tiles;
  coupling_columns(p, &in->hx, &in->y1, t, channels_part(few, FEW_CHANNELS, part),
                   thread_scratch(c, p, s, (int)t).panel, PANEL);
}

/* Where tile t's hidden layers lie. */
static ThreadScratch hidden_of_tile(const Coupling *c, const CouplingPlan *p,
                                    const NetworkScratch *s, size_t t, real *hidden1,
                                    real *hidden2) {
  ThreadScratch of = thread_scratch(c, p, s, (int)t);
  if (hidden1 != NULL) {
    of.h1 = hidden1 + hidden_offset(c, p, t);
    of.h2 = hidden2 + hidden_offset(c, p, t);
  }
  return of;
}

static void network_channels(const Coupling *c, const CouplingPlan *p,
                             const CouplingInput *in, const NetworkScratch *s,
                             real *hidden1, real *hidden2) {
  int threads = omp_get_num_threads();
  size_t pixels = cell_pixels(p), columns = parts_of(read_channels(c, in), FEW_CHANNELS);
  real *own = thread_scratch(c, p, s, omp_get_thread_num()).panel; /* in the end */
#pragma omp for schedule(dynamic)
  for (size_t i = 0; i < filter_pieces(c, s) + p->tiles * columns; i++)
    begin_channels(c, p, in, s, i);
  size_t some = coupling_piece(c->width, p->tiles, PANEL, 8, threads);
#pragma omp for schedule(static)
  for (size_t i = 0; i < p->tiles * parts_of(c->width, some); i++) {
    size_t t = i % p->tiles;
    ThreadScratch of = hidden_of_tile(c, p, s, t, hidden1, hidden2);
    Channels which = channels_part(c->width, some, i / p->tiles);
    conv1_panel(c, p, in, &s->conv1, which, t, 0, of.panel, of.h1);
    for (size_t k = 0; k < pixels; k++)
      norm1_panel(c, p, s, which, of.h1 + panel_offset(k, c->width));
  }
  some = coupling_piece(c->width, p->tiles * pixels, PANEL, 8, threads);
#pragma omp for schedule(static)
  for (size_t i = 0; i < p->tiles * pixels * parts_of(c->width, some); i++) {
    ThreadScratch of = hidden_of_tile(c, p, s, i % p->tiles, hidden1, hidden2);
    size_t pixel = panel_offset(i / p->tiles % pixels, c->width);
    conv2_panel(c, p, s, channels_part(c->width, some, i / p->tiles / pixels),
                of.h1 + pixel, of.h2 + pixel);
  }
  some = coupling_piece(out_channels(c), p->tiles, 16, 4, threads);
#pragma omp for schedule(static)
  for (size_t i = 0; i < p->tiles * parts_of(out_channels(c), some); i++) {
    size_t t = i % p->tiles;
    coupling_narrow(&s->conv3, p, channels_part(out_channels(c), some, i / p->tiles), t,
                    0, hidden_of_tile(c, p, s, t, hidden1, hidden2).h2, own, s->planes);
  }
}

/* From the planes to v, and what is done with it, by runs of rows; by rows first where
 * there are fewer runs than threads. */
static void finish_runs(const Coupling *c, const CouplingPlan *p, const NetworkScratch *s,
                        real *v, const CouplingUse *use) {
  size_t runs = p->n * sample_runs(p);
  bool rows_first = use == NULL || runs < (size_t)omp_get_num_threads();
  if (rows_first) {
#pragma omp for schedule(static)
    for (size_t r = 0; r < p->n * p->h; r++) v_row(c, p, s, r, v);
  }
  if (use == NULL) return;
#pragma omp for schedule(static) nowait
  for (size_t i = 0; i < runs; i++) {
    Run run = run_at(p, i);
    size_t first = run.n * p->h + run.at / p->w;
    for (size_t r = 0; !rows_first && r < run.pixels / p->w; r++)
      v_row(c, p, s, first + r, v);
    coupling_use(c, p, v, use, i);
  }
}

void coupling_network(const Coupling *c, const CouplingPlan *p, const CouplingInput *in,
                      real *hidden, real *v, const CouplingUse *use, real *scratch,
                      int threads) {
  NetworkScratch s = network_scratch(c, p, scratch, threads);
  s.conv1.first = has_pre(in) ? c->cond : 0;
  real *second = hidden ? hidden + hidden_offset(c, p, all_panels(p)) : NULL;
  coupling_scales(c->logs1->value, c->width, s.scale1);
  coupling_scales(c->logs2->value, c->width, s.scale2);
#pragma omp parallel num_threads(threads)
  {
    if (coupling_by_channels(p, omp_get_num_threads()))
      network_channels(c, p, in, &s, hidden, second);
    else
      network_tiles(c, p, in, &s, hidden, second);
    finish_runs(c, p, &s, v, use);
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
  CouplingPlan p = coupling_plan(c, 1, hx->h, hx->w);
  size_t k = in_channels(c) * 9, kx = c->cond * 9, hw = hx->h * hx->w;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < hx->n; n++)
    for (size_t t = 0; t < p.tiles; t++) {
      Act x = act_sample(hx, n);
      real *cols = scratch + (size_t)omp_get_thread_num() * pre_columns(c, &p);
      size_t row0 = t * p.rows * p.side, rows = tile_rows(&p, t) * p.side, m = rows * p.w;
      im2col(&x, &conv3x3, p.h, p.w, row0, rows, cols, m);
      gemm(c->precision, NO_TRANS, NO_TRANS, c->width, m, kx, c->conv1->value, k, cols, m,
           NULL, pre + n * c->width * hw + row0 * p.w, hw);
    }
}

/* The backward pass of the affine coupling; see flow/coupling/coupling.h.
 *
 * Pixels first: from dz to dv.  Then waves of a few tiles: each tile's gradient
 * passes through the hidden layers, panel by panel, and while the wave is in
 * cache its products with the layers' inputs are added to the weight gradients,
 * by panels of their columns.  Last, by rows, the input's gradient.  Sums run in
 * the order of tiles, however many make a wave. */
#include <string.h>

#include "base/threads.h"
#include "flow/coupling/backward_scratch.h"
#include "flow/coupling/conv3x3.h"
#include "flow/coupling/coupling.h"
#include "flow/coupling/pre.h"
#include "flow/coupling/scale_grads.h"
#include "flow/coupling/transform.h"
#include "math/elementwise.h"
#include "math/panel_ops.h"

/* What the passes through the hidden layers read and where they lead. */
typedef struct BackwardInput {
  const Act *y1, *hx, *dv, *dz1, *dy1, *dhx, *dpre;
  const real *hidden;
  Gradient dw2;
} BackwardInput;

/* ---- tiles: from dv through the hidden layers ---- */

static real *own_panel(const BackwardScratch *s) {
  return s->threads + (size_t)omp_get_thread_num() * s->thread_stride;
}

/* A tile's columns of dv, or of h; `first` is its first panel in the wave. */
static void tile_columns(const CouplingPlan *p, const BackwardInput *in,
                         const BackwardScratch *s, bool of_dv, size_t t, size_t first) {
  real *cols = own_panel(s) + s->panel;
  size_t few = of_dv ? s->conv3.few : s->conv1.few, n = tile_cells(p, t);
  if (of_dv)
    coupling_dv_columns(p, in->dv, t, (Channels){0, few}, cols, n);
  else
    coupling_columns(p, in->hx, in->y1, t, (Channels){0, few}, cols, n);
  coupling_pack(p, cols, column_rows(p, few), t, first, of_dv ? s->dv_cols : s->h_cols);
}

/* One panel of a hidden layer, a pixel of its cells: d2, the gradient of the second,
 * h2, becomes that of conv2's output. */
static void norm2_backward(const Coupling *c, const CouplingPlan *p,
                           const BackwardScratch *s, Channels which, const real *h2,
                           real *d2, real *sums) {
  sums += 2 * c->width + which.first;
  norm_relu_backward(h2 + which.first * PANEL, d2 + which.first * PANEL, which.count,
                     p->width, s->scale2 + which.first, sums, sums + c->width);
}

/* Channels of the first hidden layer, from `first` on, as rows of conv2's transpose. */
static Left conv2_rows(const Coupling *c, const CouplingPlan *p, const BackwardScratch *s,
                       size_t first) {
  size_t w = c->width;
  if (s->pairs2 != NULL) return left_pair_columns(s->pairs2 + first, round_up(w));
  if (p->tiles == 1) return left_columns(c->conv2->value + first, w);
  return (Left){s->turned2 + first * PANEL, PANEL, 1, PANEL, panel_offset(1, w), false};
}

/* From the gradient of conv2's output, d2, to that of conv1's output, d1.  The next h2 is
 * fetched meanwhile, if it is known, and what of h1 is needed in the end. */
static void conv2_backward(const Coupling *c, const CouplingPlan *p,
                           const BackwardScratch *s, Channels which, const real *h1,
                           const real *d2, real *d1, real *sums, const real *next_h2) {
  size_t w = c->width, panel = panel_offset(1, w);
  Range next[] = {range_of(h1, panel), range_of(next_h2, panel)};
  Prefetch fetch =
      prefetch_in(next, next_h2 ? 2 : 0, product_rounds(which.count, p->width, w));
  d1 += which.first * PANEL;
  sums += which.first;
  panel_product_prefetching(c->precision, which.count, p->width, w,
                            conv2_rows(c, p, s, which.first), d2, PANEL, NULL, d1, PANEL,
                            &fetch);
  norm_relu_backward(h1 + which.first * PANEL, d1, which.count, p->width,
                     s->scale1 + which.first, sums, sums + w);
}

/* Where tile t sums the gradients of the biases and logs of the two norms. */
static real *tile_sums(const Coupling *c, const BackwardScratch *s, size_t t) {
  return s->sums + 4 * c->width * t;
}

static void tile_backward(const Coupling *c, const CouplingPlan *p,
                          const BackwardInput *in, const BackwardScratch *s, size_t t,
                          size_t first) {
  Channels all = {0, c->width};
  const real *h1 = in->hidden + hidden_offset(c, p, t * p->panels);
  const real *h2 = h1 + hidden_offset(c, p, all_panels(p));
  real *sums = tile_sums(c, s, t);
  memset(sums, 0, 4 * c->width * sizeof *sums);
  tile_columns(p, in, s, true, t, first);
  for (size_t q = 0; q < tile_panels(p, t); q++) {
    size_t at = hidden_offset(c, p, q), kept = hidden_offset(c, p, first + q);
    real *cell = s->pairs2 ? own_panel(s) + s->panel + s->cols : s->da2 + kept;
    coupling_widen(&s->conv3, p, all,
                   s->dv_cols + panel_offset(first + q, column_rows(p, s->conv3.few)),
                   false, cell);
    for (size_t i = 0; i < cell_pixels(p); i++) {
      size_t pixel = panel_offset(i, c->width);
      real *d1 = s->da1 + kept + pixel, *d2 = cell + pixel;
      norm2_backward(c, p, s, all, h2 + at + pixel, d2, sums);
      if (s->pairs2 != NULL)
        pairs_of_rows(c->width, p->width, left_rows(d2, PANEL),
                      s->da2 + (kept + pixel) / 2, PANEL / 2);
      conv2_backward(c, p, s, all, h1 + at + pixel, d2, d1, sums,
                     h2 + at + pixel + panel_offset(1, c->width));
    }
    coupling_pre_backward(c, p, in->dpre, all, t * full_tile(p) + q * p->width,
                          panel_cells(p, tile_cells(p, t), q), s->da1 + kept);
    coupling_narrow(&s->conv1, p, (Channels){0, s->conv1.few}, t, q, s->da1 + kept,
                    own_panel(s), s->planes);
  }
  tile_columns(p, in, s, false, t, first);
}

/* ---- weight gradients ---- */

static void conv2_gradient(const Coupling *c, const CouplingPlan *p,
                           const BackwardInput *in, const BackwardScratch *s, size_t i,
                           const real *h1, Panels wave) {
  size_t w = c->width, b = i / s->row_parts;
  Channels rows = channels_part(w, parts_of(w, s->row_parts), i % s->row_parts);
  real *g = in->dw2.g + b * PANEL;
  coupling_sum(c->precision, p, (PanelRows){s->da2, w, s->pairs2 != NULL}, rows, h1, w, b,
               wave.count * cell_pixels(p), wave.first > 0 || in->dw2.beta != 0, g, w);
  if (wave.first + wave.count == all_panels(p))
    s->largest2[i] =
        largest_magnitude(g + rows.first * w, rows.count, panel_columns(w, b), w);
}

static size_t conv_pieces(const CouplingConv *conv, const CouplingPlan *p) {
  return coupling_sum_blocks(conv, p) * coupling_sum_parts(conv, p);
}

/* What a wave of panels adds to a piece of the weights' gradients: conv2's, conv3's and
 * conv1's are numbered through. */
static void wave_gradient(const Coupling *c, const CouplingPlan *p,
                          const BackwardInput *in, const BackwardScratch *s, size_t i,
                          Panels wave) {
  const real *h1 = in->hidden + hidden_offset(c, p, wave.first);
  const real *h2 = h1 + hidden_offset(c, p, all_panels(p));
  if (i < conv2_pieces(c, s)) {
    conv2_gradient(c, p, in, s, i, h1, wave);
    return;
  }
  i -= conv2_pieces(c, s);
  if (i < conv_pieces(&s->conv3, p))
    coupling_conv_sum(&s->conv3, p, s->dv_cols, h2, i, wave);
  else
    coupling_conv_sum(&s->conv1, p, s->h_cols, s->da1, i - conv_pieces(&s->conv3, p),
                      wave);
}

/* ---- the gradient of the network's input ---- */

/* Image row r from conv1's planes: hx's channels, then y1's. */
static void input_row(const Coupling *c, const CouplingPlan *p, const BackwardInput *in,
                      const BackwardScratch *s, size_t r) {
  size_t n = r / p->h, row = r % p->h * p->w;
  for (size_t ch = 0; ch < s->conv1.few; ch++) {
    if (ch < c->cond) {
      coupling_gather(&s->conv1, p, s->planes, ch, r, act_plane(in->dhx, n, ch) + row);
      continue;
    }
    real *dst = act_plane(in->dy1, n, ch - c->cond) + row;
    const real *src = act_plane(in->dz1, n, ch - c->cond) + row;
    coupling_gather(&s->conv1, p, s->planes, ch, r, dst);
    for (size_t x = 0; x < p->w; x++) dst[x] += src[x];
  }
}

/* ---- by all threads: waves of tiles, or some channels of them ---- */

static size_t sum_pieces(const Coupling *c, const CouplingPlan *p,
                         const BackwardScratch *s) {
  return conv2_pieces(c, s) + conv_pieces(&s->conv1, p) + conv_pieces(&s->conv3, p);
}

/* The weights as the products want them, piece by piece: conv2's, unless one panel reads
 * them once, conv1's and conv3's. */
static size_t turned_pieces(const Coupling *c, const CouplingPlan *p,
                            const BackwardScratch *s) {
  return p->tiles == 1 && s->pairs2 == NULL ? 0 : coupling_blocks(c);
}

/* Piece b of conv2's weight, some of its rows. */
static void turn_conv2(const Coupling *c, const BackwardScratch *s, size_t b) {
  size_t w = c->width, ld = round_up(w), rows = panel_columns(w, b);
  const real *from = c->conv2->value + b * PANEL * w;
  if (s->pairs2 != NULL)
    pairs_of_columns(w, rows, left_columns(from, w), s->pairs2 + b * PANEL / 2 * ld, ld);
  else
    panel_transpose(from, w, w, rows, s->turned2 + panel_offset(b, w));
}

static size_t weight_pieces(const Coupling *c, const CouplingPlan *p,
                            const BackwardScratch *s) {
  return turned_pieces(c, p, s) + coupling_filter_pieces(c, &s->conv1) +
         coupling_filter_pieces(c, &s->conv3);
}

static void make_filters(const Coupling *c, const CouplingPlan *p,
                         const BackwardScratch *s, size_t i) {
  size_t turned = turned_pieces(c, p, s), first = coupling_filter_pieces(c, &s->conv1);
  if (i < turned)
    turn_conv2(c, s, i);
  else if (i - turned < first)
    coupling_filters(&s->conv1, p, i - turned);
  else
    coupling_filters(&s->conv3, p, i - turned - first);
}

static void waves_backward(const Coupling *c, const CouplingPlan *p,
                           const BackwardInput *in, const BackwardScratch *s) {
  for (size_t t0 = 0; t0 < p->tiles; t0 += s->wave) {
    size_t end = t0 + s->wave < p->tiles ? t0 + s->wave : p->tiles,
           first = t0 * p->panels;
    size_t panels = (end - 1 - t0) * p->panels + tile_panels(p, end - 1);
#pragma omp for schedule(guided)
    for (size_t t = t0; t < end; t++)
      tile_backward(c, p, in, s, t, t * p->panels - first);
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < sum_pieces(c, p, s); i++)
      wave_gradient(c, p, in, s, i, (Panels){first, panels});
  }
}

/* Piece i of the columns of dv and of h. */
static void columns_piece(const CouplingPlan *p, const BackwardInput *in,
                          const BackwardScratch *s, size_t i) {
  size_t of_dv = s->conv3.few, of_h = s->conv1.few, t = i % p->tiles, part = i / p->tiles;
  size_t parts = parts_of(of_dv, FEW_CHANNELS);
  if (part < parts)
    coupling_dv_columns(p, in->dv, t, channels_part(of_dv, FEW_CHANNELS, part),
                        s->dv_cols + panel_offset(t, column_rows(p, of_dv)), PANEL);
  else
    coupling_columns(p, in->hx, in->y1, t,
                     channels_part(of_h, FEW_CHANNELS, part - parts),
                     s->h_cols + panel_offset(t, column_rows(p, of_h)), PANEL);
}

/* Some channels of tile t's gradient: of conv2's output; then of conv1's. */
static void second_backward(const Coupling *c, const CouplingPlan *p,
                            const BackwardInput *in, const BackwardScratch *s,
                            Channels which, size_t t) {
  size_t at = hidden_offset(c, p, t);
  const real *h2 = in->hidden + hidden_offset(c, p, all_panels(p)) + at;
  real *sums = tile_sums(c, s, t);
  for (size_t i = 0; i < 4; i++)
    memset(sums + i * c->width + which.first, 0, which.count * sizeof *sums);
  coupling_widen(&s->conv3, p, which,
                 s->dv_cols + panel_offset(t, column_rows(p, s->conv3.few)), false,
                 s->da2 + at);
  for (size_t i = 0; i < cell_pixels(p); i++) {
    size_t pixel = panel_offset(i, c->width);
    norm2_backward(c, p, s, which, h2 + pixel, s->da2 + at + pixel, sums);
  }
}

static void first_backward(const Coupling *c, const CouplingPlan *p,
                           const BackwardInput *in, const BackwardScratch *s,
                           Channels which, size_t t) {
  size_t at = hidden_offset(c, p, t);
  for (size_t i = 0; i < cell_pixels(p); i++) {
    size_t pixel = at + panel_offset(i, c->width);
    conv2_backward(c, p, s, which, in->hidden + pixel, s->da2 + pixel, s->da1 + pixel,
                   tile_sums(c, s, t), NULL);
  }
  coupling_pre_backward(c, p, in->dpre, which, t * full_tile(p), tile_cells(p, t),
                        s->da1 + at);
}

static void channels_backward(const Coupling *c, const CouplingPlan *p,
                              const BackwardInput *in, const BackwardScratch *s) {
  int threads = omp_get_num_threads();
  size_t tiles = p->tiles, few = s->conv1.few, sums = sum_pieces(c, p, s);
  size_t columns = parts_of(few, FEW_CHANNELS) + parts_of(s->conv3.few, FEW_CHANNELS);
#pragma omp for schedule(dynamic)
  for (size_t i = 0; i < tiles * columns; i++) columns_piece(p, in, s, i);
  size_t some = coupling_piece(c->width, tiles, PANEL, 8, threads);
#pragma omp for schedule(static)
  for (size_t i = 0; i < tiles * parts_of(c->width, some); i++)
    second_backward(c, p, in, s, channels_part(c->width, some, i / tiles), i % tiles);
#pragma omp for schedule(static)
  for (size_t i = 0; i < tiles * parts_of(c->width, some); i++)
    first_backward(c, p, in, s, channels_part(c->width, some, i / tiles), i % tiles);
  some = coupling_piece(few, tiles, 16, 4, threads);
#pragma omp for schedule(dynamic)
  for (size_t i = 0; i < sums + tiles * parts_of(few, some); i++) {
    if (i < sums) {
      wave_gradient(c, p, in, s, i, (Panels){0, all_panels(p)});
      continue;
    }
    size_t t = (i - sums) % tiles, part = (i - sums) / tiles;
    coupling_narrow(&s->conv1, p, channels_part(few, some, part), t, 0,
                    s->da1 + hidden_offset(c, p, t), own_panel(s), s->planes);
  }
}

/* In the end the gradients of weights are made of those of filters, and of the two norms
 * of the tiles' sums. */
static size_t end_pieces(const Coupling *c, const BackwardScratch *s) {
  return coupling_filter_pieces(c, &s->conv1) + coupling_filter_pieces(c, &s->conv3) +
         coupling_blocks(c);
}

static void end_piece(const Coupling *c, const CouplingPlan *p, const BackwardScratch *s,
                      size_t i, const Gradient *norms) {
  size_t first = coupling_filter_pieces(c, &s->conv1);
  size_t filters = first + coupling_filter_pieces(c, &s->conv3);
  if (i >= filters)
    coupling_norm_gradients(c, p, s->sums, i - filters, norms);
  else if (i < first)
    coupling_filters_back(&s->conv1, p, i);
  else
    coupling_filters_back(&s->conv3, p, i - first);
}

/* What is largest in the weights' gradients. */
static void note_largest(const Coupling *c, const CouplingPlan *p,
                         const BackwardScratch *s) {
  c->conv1->largest =
      largest_magnitude(s->conv1.largest, 1, coupling_known_parts(&s->conv1, p), 0);
  c->conv2->largest = largest_magnitude(s->largest2, 1, conv2_pieces(c, s), 0);
  c->conv3->largest =
      largest_magnitude(s->conv3.largest, 1, coupling_known_parts(&s->conv3, p), 0);
}

void coupling_backward(const Coupling *c, const CouplingPlan *p, const Act *y,
                       const Act *read, const Act *hx, const real *hidden, const real *v,
                       const Act *dz, const real *dlogdet, const Act *dy, const Act *dhx,
                       const Act *dpre, real *scratch, int threads) {
  BackwardScratch s = coupling_backward_room(c, p, scratch, threads);
  size_t keep = coupling_keep1(c), change = coupling_change(c);
  Act y2 = act_channels(y, keep, change);
  Act dy1 = act_channels(dy, 0, keep), dy2 = act_channels(dy, keep, change);
  Act dz1 = act_channels(dz, 0, keep), dz2 = act_channels(dz, keep, change);
  Act dv = act_nchw(s.dv, p->n, out_channels(c), p->h, p->w);
  BackwardInput in = {
      read, hx, &dv, &dz1, &dy1, dhx, dpre, hidden, gradient_of(c->conv2)};
  Gradient dbias3 = gradient_of(c->bias3), dlogs3 = gradient_of(c->logs3);
  Gradient norms[] = {gradient_of(c->bias1), gradient_of(c->logs1), gradient_of(c->bias2),
                      gradient_of(c->logs2)};
  s.conv1.dweight = param_accumulate(c->conv1, &s.conv1.beta);
  s.conv3.dweight = param_accumulate(c->conv3, &s.conv3.beta);
  coupling_scales(c->logs1->value, c->width, s.scale1);
  coupling_scales(c->logs2->value, c->width, s.scale2);

#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < weight_pieces(c, p, &s); i++) make_filters(c, p, &s, i);
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < p->n * sample_runs(p); i++)
      coupling_run_backward(c, p, &y2, v, &dz2, dlogdet, &dy2, s.dv, run_at(p, i));
    if (coupling_by_channels(p, omp_get_num_threads()))
      channels_backward(c, p, &in, &s);
    else
      waves_backward(c, p, &in, &s);
#pragma omp for schedule(static) nowait
    for (size_t r = 0; r < p->n * p->h; r++) input_row(c, p, &in, &s, r);
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < end_pieces(c, &s); i++) end_piece(c, p, &s, i, norms);
#pragma omp for schedule(static) nowait
    for (size_t o = 0; o < out_channels(c); o++)
      coupling_conv3_gradients(c, p, v, s.dv, o, dbias3, dlogs3);
  }
  note_largest(c, p, &s);
}

/* The coupling's two 3×3 convolutions, between few planes and the hidden layers. */
#include "flow/coupling/conv3x3.h"

#include <math.h>
#include <string.h>

#include "math/elementwise.h"
#include "math/filters3x3.h"
#include "math/pairs.h"
#include "math/panel_ops.h"
#include "math/winograd.h"

static inline bool in_squares(const CouplingPlan *p) { return p->side == 2; }

/* ---- filters ---- */

CouplingConv coupling_conv1(const Coupling *c, real *filters, real *dfilters) {
  size_t few = in_channels(c);
  return (CouplingConv){.precision = c->precision,
                        .few = few,
                        .wide = c->width,
                        .weight = c->conv1->value,
                        .wide_step = few * FILTER_SIZE,
                        .few_step = FILTER_SIZE,
                        .filters = filters,
                        .dfilters = dfilters};
}

CouplingConv coupling_conv3(const Coupling *c, real *filters, real *dfilters) {
  return (CouplingConv){.precision = c->precision,
                        .few = out_channels(c),
                        .wide = c->width,
                        .last = true,
                        .weight = c->conv3->value,
                        .wide_step = FILTER_SIZE,
                        .few_step = c->width * FILTER_SIZE,
                        .filters = filters,
                        .dfilters = dfilters};
}

size_t coupling_filter_count(const CouplingPlan *p, size_t few, size_t wide) {
  return (wide + PANEL - 1) / PANEL * PANEL * column_rows(p, few);
}

/* With pixels for cells conv1's weight will do as it is; all other filters are kept
 * in blocks of hidden channels, [rows of columns][PANEL]. */
static inline bool as_it_is(const CouplingConv *c, const CouplingPlan *p) {
  return !in_squares(p) && !c->last;
}

void coupling_filters(const CouplingConv *c, const CouplingPlan *p, size_t i) {
  size_t read = c->few - c->first, parts = parts_of(read, FEW_CHANNELS), b = i / parts;
  Channels some = channels_part(read, FEW_CHANNELS, i % parts);
  some.first += c->first;
  real rows[FILTERS_ROOM], *to = c->filters + panel_offset(b, column_rows(p, c->few));
  const real *g = c->weight + b * PANEL * c->wide_step + some.first * c->few_step;
  size_t count = panel_columns(c->wide, b), end = some.first + some.count;
  if (as_it_is(c, p)) return;
  for (size_t f = some.first; f < end; f++, g += c->few_step) {
    if (f + 1 < end) filters_prefetch(g + c->few_step, c->wide_step, count);
    filters_gather(g, c->wide_step, count, rows);
    if (in_squares(p))
      winograd_filter(rows, c->last, c->few, to + f * PANEL);
    else
      memcpy(to + f * FILTER_SIZE * PANEL, rows, FILTER_SIZE * PANEL * sizeof *to);
  }
  if (in_squares(p))
    winograd_filters_ready(c->precision, c->widens, c->few, some.count,
                           to + some.first * PANEL);
}

/* Add up the parts of a block of the filters' gradient, for some of the few channels. */
static void add_parts(const CouplingConv *c, const CouplingPlan *p, Channels some,
                      real *d) {
  size_t part = coupling_filter_count(p, c->few, c->wide);
  for (size_t k = 1; k < coupling_sum_parts(c, p); k++)
    for (size_t i = 0; i < POSITIONS; i++) {
      real *to = d + (i * c->few + some.first) * PANEL;
      axpy_range(to, to + k * part, 1, some.count * PANEL);
    }
}

void coupling_filters_back(const CouplingConv *c, const CouplingPlan *p, size_t i) {
  size_t parts = parts_of(c->few, FEW_CHANNELS), b = i / parts;
  Channels some = channels_part(c->few, FEW_CHANNELS, i % parts);
  real rows[FILTER_SIZE * PANEL], largest = 0;
  real *dg = c->dweight + b * PANEL * c->wide_step + some.first * c->few_step;
  real *d = c->dfilters + panel_offset(b, column_rows(p, c->few));
  size_t count = panel_columns(c->wide, b), end = some.first + some.count;
  if (as_it_is(c, p)) return;
  add_parts(c, p, some, d);
  for (size_t f = some.first; f < end; f++, dg += c->few_step) {
    if (f + 1 < end) filters_prefetch(dg + c->few_step, c->wide_step, count);
    if (in_squares(p))
      winograd_filter_back(d + f * PANEL, c->last, c->few, rows);
    else
      memcpy(rows, d + f * FILTER_SIZE * PANEL, sizeof rows);
    real top = largest_magnitude(rows, FILTER_SIZE, count, PANEL);
    if (top > largest) largest = top;
    filters_scatter(rows, count, c->beta, dg, c->wide_step);
  }
  /* With beta the gradient holds more than this, which nobody has looked at: unknown. */
  c->largest[i] = c->beta == 0 ? largest : (real)HUGE_VAL;
}

size_t coupling_known_parts(const CouplingConv *c, const CouplingPlan *p) {
  size_t blocks = coupling_sum_blocks(c, p);
  return as_it_is(c, p) ? blocks : blocks * parts_of(c->few, FEW_CHANNELS);
}

/* ---- columns and planes ---- */

/* Zeros behind n numbers of each of so many rows. */
static void fill_up(real *row, size_t rows, size_t n, size_t ld) {
  for (; n < ld && rows > 0; rows--, row += ld)
    memset(row + n, 0, (ld - n) * sizeof *row);
}

/* Some channels of `in`, whose first is channel `first` of `few`. */
static void columns_of(const CouplingPlan *p, const Act *in, size_t t, Channels which,
                       size_t first, size_t few, real *cols, size_t ld) {
  Act some = act_channels(in, which.first, which.count);
  size_t rows = tile_rows(p, t), row0 = t * p->rows, n = tile_cells(p, t);
  first += which.first;
  if (in_squares(p)) {
    cols += first * ld;
    winograd_patches(&some, row0, rows, few, cols, ld);
    for (size_t i = 0; i < POSITIONS; i++)
      fill_up(cols + i * few * ld, which.count, n, ld);
  } else {
    cols += first * FILTER_SIZE * ld;
    im2col(&some, &conv3x3, p->h, p->w, row0, rows, cols, ld);
    fill_up(cols, which.count * FILTER_SIZE, n, ld);
  }
}

void coupling_columns(const CouplingPlan *p, const Act *hx, const Act *y1, size_t t,
                      Channels which, real *cols, size_t ld) {
  size_t cond = hx->data == NULL ? 0 : hx->c, few = cond + y1->c;
  size_t end = which.first + which.count, mid = end < cond ? end : cond;
  if (which.first < mid)
    columns_of(p, hx, t, (Channels){which.first, mid - which.first}, 0, few, cols, ld);
  if (mid < which.first) mid = which.first;
  if (mid < end)
    columns_of(p, y1, t, (Channels){mid - cond, end - mid}, cond, few, cols, ld);
}

void coupling_dv_columns(const CouplingPlan *p, const Act *dv, size_t t, Channels which,
                         real *cols, size_t ld) {
  if (in_squares(p)) {
    columns_of(p, dv, t, which, 0, dv->c, cols, ld);
    return;
  }
  Act some = act_channels(dv, which.first, which.count);
  cols += which.first * FILTER_SIZE * ld;
  im2col_flipped(&some, &conv3x3, t * p->rows, tile_rows(p, t), cols, ld);
  fill_up(cols, which.count * FILTER_SIZE, tile_cells(p, t), ld);
}

void coupling_pack(const CouplingPlan *p, const real *cols, size_t rows, size_t t,
                   size_t first, real *panels) {
  size_t n = tile_cells(p, t);
  for (size_t q = 0; q < tile_panels(p, t); q++)
    panel_pack(cols + q * p->width, n, rows, panel_cells(p, n, q),
               panels + panel_offset(first + q, rows));
}

/* Row r of pixels from rows of squares: its own, and the next on the other side. */
static void gather_squares(const CouplingConv *c, const CouplingPlan *p,
                           const real *planes, size_t f, size_t r, real *dst) {
  size_t k = column_rows(p, c->few), y = r % p->h / 2, row = r / p->h * p->high + y;
  bool lower = r % p->h % 2 == 1;
  size_t step = c->few;
  const real *own = tile_row(p, planes, k, (lower ? 8 : 4) * step + f, row);
  winograd_overlap(own, step * tile_cells(p, row / p->rows), p->wide, dst);
  if (lower ? y + 1 == p->high : y == 0) return;
  row = lower ? row + 1 : row - 1;
  const real *next = tile_row(p, planes, k, (lower ? 0 : 12) * step + f, row);
  winograd_overlap(next, step * tile_cells(p, row / p->rows), p->wide, dst);
}

/* conv3's planes are read at pixel + offset, conv1's, backwards, at pixel − offset. */
static void gather_pixels(const CouplingConv *c, const CouplingPlan *p,
                          const real *planes, size_t f, size_t r, real *dst) {
  ptrdiff_t y = (ptrdiff_t)(r % p->h), sign = c->last ? 1 : -1;
  for (ptrdiff_t i = -1; i <= 1; i++) {
    ptrdiff_t yy = y + sign * i;
    if (yy < 0 || yy >= (ptrdiff_t)p->h) continue;
    size_t rr = (size_t)((ptrdiff_t)r + sign * i), row = f * 9 + (size_t)(i + 1) * 3;
    const real *left =
        tile_row(p, planes, c->few * FILTER_SIZE, row + (sign > 0 ? 0 : 2), rr);
    const real *mid = tile_row(p, planes, c->few * FILTER_SIZE, row + 1, rr);
    const real *right =
        tile_row(p, planes, c->few * FILTER_SIZE, row + (sign > 0 ? 2 : 0), rr);
    add_shifted(dst, left, mid, right, p->w);
  }
}

void coupling_gather(const CouplingConv *c, const CouplingPlan *p, const real *planes,
                     size_t f, size_t r, real *dst) {
  memset(dst, 0, p->w * sizeof *dst);
  if (in_squares(p))
    gather_squares(c, p, planes, f, r, dst);
  else
    gather_pixels(c, p, planes, f, r, dst);
}

/* ---- products ---- */

/* conv3's filters as the left factor, hidden channels as columns; from one of the few
 * channels on. */
static Left block_columns(const CouplingConv *c, size_t first) {
  return (Left){c->filters + first * FILTER_SIZE * PANEL, PANEL, 1, PANEL,
                panel_offset(1, c->few * FILTER_SIZE),    false};
}

void coupling_widen(const CouplingConv *c, const CouplingPlan *p, Channels which,
                    const real *panel, bool add, real *out) {
  size_t k = c->few * FILTER_SIZE, rows = column_rows(p, c->few), first = c->first;
  const real *filters =
      c->filters + panel_offset(which.first / PANEL, rows) + which.first % PANEL;
  out += which.first * PANEL;
  if (in_squares(p)) {
    winograd_widen(c->precision, filters, c->wide, which.count, c->few, first,
                   c->few - first, panel, p->width, add, out);
  } else if (!c->last) {
    const real *weight = c->weight + which.first * c->wide_step + first * FILTER_SIZE;
    panel_product(c->precision, which.count, p->width, k - first * FILTER_SIZE,
                  left_rows(weight, c->wide_step), panel, PANEL, add ? out : NULL, out,
                  PANEL);
  } else {
    for (size_t b = 0; b * PANEL < which.count; b++)
      panel_product(c->precision, panel_columns(which.count, b), p->width, k,
                    left_columns(filters + panel_offset(b, k), PANEL), panel, PANEL, NULL,
                    out + panel_offset(b, PANEL), PANEL);
  }
}

void coupling_narrow(const CouplingConv *c, const CouplingPlan *p, Channels which,
                     size_t t, size_t q, const real *h, real *panel, real *planes) {
  size_t rows = column_rows(p, c->few), n = tile_cells(p, t),
         count = panel_cells(p, n, q), first = which.first * PANEL;
  planes += tile_offset(p, t, rows) + q * p->width;
  if (in_squares(p)) {
    winograd_narrow(c->precision, c->filters + first, c->wide, c->few, which.count, h,
                    p->width, panel + first);
    winograd_unpatch(c->few, which.count, panel + first);
    for (size_t at = which.first; at < rows; at += c->few)
      for (size_t k = at; k < at + which.count; k++)
        memcpy(planes + k * n, panel + k * PANEL, count * sizeof *planes);
    return;
  }
  size_t row = which.first * FILTER_SIZE;
  Left left = c->last ? block_columns(c, which.first)
                      : left_columns(c->weight + row, c->wide_step);
  panel_product(c->precision, which.count * FILTER_SIZE, count, c->wide, left, h, PANEL,
                NULL, planes + row * n, n);
}

/* ---- sums over cells ---- */

/* Panels that are transposed and multiplied at a time. */
#define SUM_PANELS ((size_t)8)

/* Rows of some panels, as a left factor. */
static Left rows_of_panels(const CouplingPlan *p, PanelRows d, size_t first, size_t q) {
  size_t row = d.pairs ? PANEL / 2 : PANEL, run = d.pairs ? p->width / 2 : p->width;
  return (Left){d.p + (q * d.rows + first) * row, row, 1, run, d.rows * row, d.pairs};
}

void coupling_sum(Precision how, const CouplingPlan *p, PanelRows d, Channels which,
                  const real *h, size_t wide, size_t b, size_t count, bool add, real *to,
                  size_t ld) {
  _Alignas(64) real turned[SUM_PANELS * PANEL * PANEL];
  size_t columns = panel_columns(wide, b);
  bool pairs = rounds_to_pairs(how);
  size_t size = (pairs ? p->width / 2 : p->width) * PANEL;
  to += which.first * ld;
  for (size_t q = 0, some; q < count; q += some, add = true) {
    some = count - q < SUM_PANELS ? count - q : SUM_PANELS;
    Left left = rows_of_panels(p, d, which.first, q);
    const real *start = add ? to : NULL;
    for (size_t i = 0; i < some; i++)
      (pairs ? pairs_transpose : panel_transpose)(
          h + panel_offset(q + i, wide) + b * PANEL * PANEL, PANEL, p->width, columns,
          turned + i * size);
    if (pairs)
      pairs_product(which.count, columns, some * p->width, left, turned, PANEL, start, to,
                    ld, NULL);
    else
      panel_product(how, which.count, columns, some * p->width, left, turned, PANEL,
                    start, to, ld);
  }
}

size_t coupling_sum_blocks(const CouplingConv *c, const CouplingPlan *p) {
  return ((as_it_is(c, p) ? c->few * FILTER_SIZE : c->wide) + PANEL - 1) / PANEL;
}

/* Narrow layers have few blocks. */
size_t coupling_sum_parts(const CouplingConv *c, const CouplingPlan *p) {
  size_t parts = c->wide <= 2 * PANEL ? 4 : 2;
  if (!in_squares(p)) return 1;
  return parts < all_panels(p) ? parts : all_panels(p);
}

size_t coupling_sum_room(const CouplingConv *c, const CouplingPlan *p) {
  return coupling_sum_parts(c, p) * coupling_filter_count(p, c->few, c->wide);
}

void coupling_conv_sum(const CouplingConv *c, const CouplingPlan *p, const real *cols,
                       const real *h, size_t i, Panels panels) {
  size_t rows = column_rows(p, c->few), parts = coupling_sum_parts(c, p);
  size_t b = i / parts, part = i % parts, end = panels.first + panels.count;
  real *d = c->dfilters + part * coupling_filter_count(p, c->few, c->wide) +
            panel_offset(b, rows);
  bool later = panels.first > 0;
  if (as_it_is(c, p)) {
    real *dw = c->dweight + b * PANEL;
    coupling_sum(c->precision, p, (PanelRows){h, c->wide, false}, (Channels){0, c->wide},
                 cols, rows, b, panels.count, later || c->beta != 0, dw, rows);
    if (end == all_panels(p))
      c->largest[b] = largest_magnitude(dw, c->wide, panel_columns(rows, b), rows);
  } else if (!in_squares(p)) {
    coupling_sum(c->precision, p, (PanelRows){cols, rows, false}, (Channels){0, rows}, h,
                 c->wide, b, panels.count, later, d, PANEL);
  } else {
    for (size_t q = panels.first; q < end; q++)
      if (q % parts == part)
        winograd_sum(c->precision, cols + panel_offset(q - panels.first, rows), c->few,
                     h + panel_offset(4 * (q - panels.first), c->wide), c->wide, b,
                     p->width, q >= parts, d);
  }
}

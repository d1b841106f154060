/* Convolutions by Winograd's F(4×4, 3×3) (math/conv_winograd.h). */
#include "math/conv_winograd.h"

#include <string.h>

#include "base/threads.h"
#include "math/conv_winograd_squares.h"
#include "math/filters3x3.h"

typedef ptrdiff_t Index;

/* Squares that are worked on at a time: enough rows for a product, few enough that what
 * belongs to them stays in the second-level cache. */
#define CHUNK_SQUARES ((size_t)48)
/* With fewer channels Winograd's form does not pay. */
#define FEWEST_CHANNELS ((size_t)16)
/* What a filter costs before it is used, in multiply-adds of each channel. */
#define FILTER_COST ((size_t)180)
/* With no more squares than these, filters are made block by block. */
#define FEW_SQUARES ((size_t)96)

static inline size_t squares_of(const Act *a) {
  return a->n * ((a->h + 3) / 4) * ((a->w + 3) / 4);
}

bool conv_winograd_pays(Precision how, const Act *in, size_t channels) {
  Act some = *in;
  if (how == PRECISION_BF16) some.n = 1;
  return in->c >= FEWEST_CHANNELS && channels >= FEWEST_CHANNELS &&
         9 * act_pixels(&some) > 32 * squares_of(&some) + FILTER_COST;
}

/* ---- how work is shared out; no cut changes a bit ---- */

typedef enum { BY_BLOCKS, BY_CHUNKS, BY_PIECES } Way;

/* Few squares: by blocks of output channels; many: by chunks, several for each thread.
 * Where threads are too many for either, by both, with all that they read in memory. */
static Way way(const Act *a, int threads, Cut *t) {
  size_t squares = squares_of(a), rows = a->n * ((a->h + 3) / 4);
  if (threads >= 4 && rows < 4 * (size_t)threads) {
    *t = squares_cut(a, 1);
    return BY_PIECES;
  }
  if (squares <= FEW_SQUARES) {
    *t = squares_cut(a, squares);
    return BY_BLOCKS;
  }
  size_t some = threads > 1 ? squares / (2 * (size_t)threads) : squares;
  *t = squares_cut(a, min_size(CHUNK_SQUARES, some));
  return BY_CHUNKS;
}

static size_t product_room(const Act *a, size_t in, size_t out, int threads) {
  Cut t;
  Way w = way(a, threads, &t);
  size_t squares = t.rows * t.wide, k = blocks_of(in) * PANEL;
  size_t own = pixel_room(&t) + room(squares * PANEL);
  size_t shared = blocks_of(out) * PANEL;
  if (w == BY_BLOCKS)
    own += room(in * PANEL);
  else
    shared += blocks_of(out) * room(in * PANEL);
  if (w == BY_CHUNKS)
    own += room(squares * k);
  else
    shared += room(t.all * t.wide * k);
  return shared + own * (size_t)threads;
}

/* ---- filters ---- */

/* rows[count][9][PANEL]: filters c, c + 1, … of block b of output channels. */
static void gather_filters(const Filters *f, size_t out, size_t b, size_t c, size_t count,
                           real *rows) {
  const real *p = f->p + b * PANEL * f->out_step + c * f->in_step;
  size_t outs = panel_columns(out, b);
  if (f->in_step == FILTER_SIZE) { /* they follow each other */
    panel_transpose(p, f->out_step, count * FILTER_SIZE, outs, rows);
    return;
  }
  real room_for_one[FILTERS_ROOM];
  for (size_t i = 0; i < count; i++, p += f->in_step) {
    filters_gather(p, f->out_step, outs, room_for_one);
    memcpy(rows + i * FILTER_SIZE * PANEL, room_for_one,
           FILTER_SIZE * PANEL * sizeof *rows);
  }
}

/* Block b of output channels, channels first … end−1 of the input. */
static void make_filters(const Filters *f, size_t out, size_t b, size_t first, size_t end,
                         Positions u) {
  real rows[SOME_FILTERS * FILTER_SIZE * PANEL];
  for (size_t c = first, n; c < end; c += n) {
    n = min_size(end - c, SOME_FILTERS);
    gather_filters(f, out, b, c, n, rows);
    for (size_t i = 0; i < n; i++) BY_ISA(conv_filter)
    (rows + i * FILTER_SIZE * PANEL, f->turned,
     (Positions){u.p + (c + i) * PANEL, u.step});
  }
}

/* ---- convolution ---- */

/* Convolve few squares: patches of all, then block by block of output channels. */
static void by_blocks(Precision how, const Cut *t, const Act *in, const Filters *f,
                      const real *bias, const Act *out, real *scratch, int threads) {
  size_t squares = t->rows * t->wide, k = blocks_of(in->c) * PANEL;
  Positions v = take(&scratch, squares * k);
  size_t own = pixel_room(t) + room(squares * PANEL) + room(in->c * PANEL);
  const Source from = {in, true};
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    real *pixels = scratch + (size_t)omp_get_thread_num() * own;
    real *rest = pixels + pixel_room(t);
    Positions m = take(&rest, squares * PANEL), u = take(&rest, in->c * PANEL);
#pragma omp for schedule(static)
    for (Index b = 0; b < (Index)blocks_of(in->c); b++)
      squares_make(t, &from, (size_t)b, 0, t->all, pixels,
                   (Positions){v.p + (size_t)b * PANEL, v.step}, k, NULL);
#pragma omp for schedule(static) nowait
    for (Index b = 0; b < (Index)blocks_of(out->c); b++) {
      make_filters(f, out->c, (size_t)b, 0, in->c, u);
      BY_PRECISION(how, conv_products)(squares, in->c, v, k, u, m);
      squares_put(t, out, (size_t)b, 0, t->all, m, bias, pixels);
    }
  }
}

/* All filters, block by block of output channels; for all threads together. */
static void make_all_filters(const Filters *f, size_t in, size_t out, real *filters) {
  size_t ins = blocks_of(in), outs = blocks_of(out);
#pragma omp for schedule(static)
  for (Index i = 0; i < (Index)(outs * ins); i++) {
    size_t b = (size_t)i / ins, c = (size_t)i % ins * PANEL;
    real *at = filters + b * room(in * PANEL);
    make_filters(f, out, b, c, min_size(c + PANEL, in), take(&at, in * PANEL));
  }
}

static inline Positions filters_of(real *filters, size_t in, size_t b) {
  real *at = filters + b * room(in * PANEL);
  return take(&at, in * PANEL);
}

/* Convolve many squares: all filters, then chunk by chunk. */
static void by_chunks(Precision how, const Cut *t, const Act *in, const Filters *f,
                      const real *bias, const Act *out, real *scratch, int threads) {
  size_t squares = t->rows * t->wide, blocks = blocks_of(in->c), k = blocks * PANEL;
  size_t outs = blocks_of(out->c);
  real *filters = scratch;
  scratch += outs * room(in->c * PANEL);
  size_t own = pixel_room(t) + room(squares * PANEL) + room(squares * k);
  const Source from = {in, true};
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    real *pixels = scratch + (size_t)omp_get_thread_num() * own;
    real *rest = pixels + pixel_room(t);
    Positions m = take(&rest, squares * PANEL), v = take(&rest, squares * k);
    make_all_filters(f, in->c, out->c, filters);
#pragma omp for schedule(dynamic) nowait
    for (Index i = 0; i < (Index)t->chunks; i++) {
      size_t row = (size_t)i * t->rows, rows = chunk_rows(t, row);
      for (size_t b = 0; b < blocks; b++)
        squares_make(t, &from, b, row, rows, pixels, (Positions){v.p + b * PANEL, v.step},
                     k, NULL);
      for (size_t b = 0; b < outs; b++) {
        BY_PRECISION(how, conv_products)
        (rows * t->wide, in->c, v, k, filters_of(filters, in->c, b), m);
        squares_put(t, out, b, row, rows, m, bias, pixels);
      }
    }
  }
}

/* A row of squares and a block of output channels at a time; patches and filters of all
 * come first. */
static void by_pieces(Precision how, const Cut *t, const Act *in, const Filters *f,
                      const real *bias, const Act *out, real *scratch, int threads) {
  size_t blocks = blocks_of(in->c), outs = blocks_of(out->c), k = blocks * PANEL;
  Positions v = take(&scratch, t->all * t->wide * k);
  real *filters = scratch;
  scratch += outs * room(in->c * PANEL);
  size_t own = pixel_room(t) + room(t->wide * PANEL);
  const Source from = {in, true};
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    real *pixels = scratch + (size_t)omp_get_thread_num() * own;
    real *rest = pixels + pixel_room(t);
    Positions m = take(&rest, t->wide * PANEL);
#pragma omp for schedule(static) nowait
    for (Index i = 0; i < (Index)(t->all * blocks); i++) {
      size_t row = (size_t)i / blocks, b = (size_t)i % blocks;
      squares_make(t, &from, b, row, 1, pixels,
                   (Positions){v.p + row * t->wide * k + b * PANEL, v.step}, k, NULL);
    }
    make_all_filters(f, in->c, out->c, filters);
#pragma omp for schedule(dynamic) nowait
    for (Index i = 0; i < (Index)(t->all * outs); i++) {
      size_t row = (size_t)i / outs, b = (size_t)i % outs;
      Positions at = {v.p + row * t->wide * k, v.step};
      BY_PRECISION(how, conv_products)
      (t->wide, in->c, at, k, filters_of(filters, in->c, b), m);
      squares_put(t, out, b, row, 1, m, bias, pixels);
    }
  }
}

void conv_winograd(Precision how, const Act *in, Filters filters, const real *bias,
                   const Act *out, real *scratch, int threads) {
  Cut t;
  Way w = way(in, threads, &t);
  size_t padded = blocks_of(out->c) * PANEL;
  real *all = scratch;
  memset(all, 0, padded * sizeof *all);
  if (bias != NULL) memcpy(all, bias, out->c * sizeof *all);
  if (w == BY_BLOCKS)
    by_blocks(how, &t, in, &filters, all, out, scratch + padded, threads);
  else if (w == BY_CHUNKS)
    by_chunks(how, &t, in, &filters, all, out, scratch + padded, threads);
  else
    by_pieces(how, &t, in, &filters, all, out, scratch + padded, threads);
}

size_t conv_winograd_scratch(const Act *in, const Act *out, int threads) {
  size_t product = max_size(product_room(in, in->c, out->c, threads),
                            product_room(in, out->c, in->c, threads));
  return max_size(product, conv_winograd_gradient_room(in, out, threads)) + 64;
}

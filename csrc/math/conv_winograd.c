/* Convolutions by Winograd's F(4×4, 3×3) (math/conv_winograd.h). */
#include "math/conv_winograd.h"

#include <stdint.h>
#include <string.h>

#include "base/threads.h"
#include "math/conv_winograd_gradient.h"
#include "math/conv_winograd_squares.h"
#include "math/filters3x3.h"
#include "math/pairs.h"

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

/* Smaller chunks, by up to a half, where threads get more equal shares of them. */
static void even_out(Cut *t, size_t threads) {
  size_t best = t->rows, least = SIZE_MAX;
  for (size_t rows = t->rows; rows > 0 && 2 * rows >= t->rows; rows--) {
    size_t most = pieces_of(pieces_of(t->all, rows), threads) * rows;
    if (most < least) best = rows, least = most;
  }
  t->rows = best;
  t->chunks = pieces_of(t->all, best);
}

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
  if (threads > 2) even_out(t, (size_t)threads);
  return BY_CHUNKS;
}

/* A convolution: how it is cut, and where its parts lie in scratch.  With few squares
 * every thread has filters of its own, a block's; by chunks, patches. */
typedef struct Convolution {
  Precision how;
  const Act *in, *out;
  const Put *put;
  Filters filters;
  Way way;
  Cut t;
  Source from;
  size_t block, line; /* numbers of a patch: of a block of channels, and of all blocks */
  Positions patches;  /* of all squares, channels of `in` rounded up to whole panels */
  real *all_filters;  /* block by block of output channels */
  real *bias;         /* rounded up to whole panels */
  real *threads;
  size_t own; /* scratch of a thread */
  size_t total;
} Convolution;

static Convolution convolution(Precision how, const Act *in, Filters filters,
                               const Act *out, const Put *put, real *scratch,
                               int threads) {
  Convolution v = {.how = how, .in = in, .out = out, .put = put, .filters = filters};
  v.way = way(in, threads, &v.t);
  size_t squares = v.t.rows * v.t.wide, k = blocks_of(in->c) * PANEL;
  size_t shared = blocks_of(out->c) * PANEL;
  v.from = (Source){in, true, rounds_to_pairs(how)};
  v.block = v.from.pairs ? PANEL / 2 : PANEL;
  v.line = blocks_of(in->c) * v.block;
  v.bias = scratch;
  v.own = pixel_room(&v.t) + room(squares * PANEL);
  if (v.way == BY_BLOCKS)
    v.own += room(in->c * PANEL);
  else
    v.all_filters = scratch + shared, shared += blocks_of(out->c) * room(in->c * PANEL);
  if (v.way == BY_CHUNKS) {
    v.own += room(squares * k);
  } else {
    real *at = scratch + shared;
    v.patches = take(&at, v.t.all * v.t.wide * k);
    shared += room(v.t.all * v.t.wide * k);
  }
  v.threads = scratch + shared;
  v.total = shared + v.own * (size_t)threads;
  return v;
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
static void make_filters(const Convolution *v, size_t b, size_t first, size_t end,
                         Positions u) {
  const Filters *f = &v->filters;
  real rows[SOME_FILTERS * FILTER_SIZE * PANEL];
  for (size_t c = first, n; c < end; c += n) {
    n = min_size(end - c, SOME_FILTERS);
    gather_filters(f, v->out->c, b, c, n, rows);
    for (size_t i = 0; i < n; i++) BY_ISA(conv_filter)
    (rows + i * FILTER_SIZE * PANEL, f->turned,
     (Positions){u.p + (c + i) * PANEL, u.step});
#if HAVE_AVX512_BF16
    if (v->from.pairs)
      conv_filter_pairs_avx512_bf16(n, (Positions){u.p + c * PANEL, u.step});
#endif
  }
}

static Positions filters_of(const Convolution *v, size_t b) {
  real *at = v->all_filters + b * room(v->in->c * PANEL);
  return take(&at, v->in->c * PANEL);
}

/* Piece i of all filters: a block of output channels by one of input channels. */
static size_t filter_pieces(const Convolution *v) {
  return blocks_of(v->out->c) * blocks_of(v->in->c);
}

static void filter_piece(const Convolution *v, size_t i) {
  size_t ins = blocks_of(v->in->c), b = i / ins, c = i % ins * PANEL;
  make_filters(v, b, c, min_size(c + PANEL, v->in->c), filters_of(v, b));
}

/* ---- convolution ---- */

/* A thread's scratch: pixels, products, and what else its way wants. */
typedef struct Own {
  real *pixels;
  Positions m, more;
} Own;

static Own own_scratch(const Convolution *v) {
  size_t squares = v->t.rows * v->t.wide;
  real *pixels = v->threads + (size_t)omp_get_thread_num() * v->own;
  real *rest = pixels + pixel_room(&v->t);
  Own own = {pixels, take(&rest, squares * PANEL), {0}};
  if (v->way == BY_BLOCKS) own.more = take(&rest, v->in->c * PANEL);
  if (v->way == BY_CHUNKS) own.more = take(&rest, squares * blocks_of(v->in->c) * PANEL);
  return own;
}

/* Patches of block b of input channels, rows row … row+rows−1 of squares. */
static void patch_piece(const Convolution *v, size_t b, size_t row, size_t rows,
                        real *pixels) {
  real *at = v->patches.p + row * v->t.wide * v->line + b * v->block;
  squares_make(&v->t, &v->from, b, row, rows, pixels, (Positions){at, v->patches.step},
               v->line, NULL);
}

/* What all threads wait for: filters, or patches, or both. */
static void prepare(const Convolution *v) {
  Own own = own_scratch(v);
  size_t blocks = blocks_of(v->in->c), filters = filter_pieces(v);
  if (v->way == BY_CHUNKS) {
#pragma omp for schedule(static)
    for (size_t i = 0; i < filters; i++) filter_piece(v, i);
  } else if (v->way == BY_BLOCKS) {
#pragma omp for schedule(static)
    for (size_t b = 0; b < blocks; b++) patch_piece(v, b, 0, v->t.all, own.pixels);
  } else {
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < filters + v->t.all * blocks; i++)
      if (i < filters)
        filter_piece(v, i);
      else
        patch_piece(v, (i - filters) % blocks, (i - filters) / blocks, 1, own.pixels);
  }
}

/* Block b of output channels of some rows of squares, from their patches. */
static void products(const Convolution *v, const Own *own, size_t b, size_t row,
                     size_t rows, Positions patches, Positions filters) {
  BY_PRECISION(v->how, conv_products)
  (rows * v->t.wide, v->in->c, patches, v->line, filters, own->m);
  squares_put(&v->t, v->out, v->put, b, row, rows, own->m, v->bias, own->pixels);
}

/* A chunk: its patches, then all output channels. */
static void chunk(const Convolution *v, const Own *own, size_t i) {
  size_t row = i * v->t.rows, rows = chunk_rows(&v->t, row);
  for (size_t b = 0; b < blocks_of(v->in->c); b++)
    squares_make(&v->t, &v->from, b, row, rows, own->pixels,
                 (Positions){own->more.p + b * v->block, own->more.step}, v->line, NULL);
  for (size_t b = 0; b < blocks_of(v->out->c); b++)
    products(v, own, b, row, rows, own->more, filters_of(v, b));
}

/* The output, from what `prepare` has made: pieces by the way. */
static void produce(const Convolution *v) {
  Own own = own_scratch(v);
  size_t outs = blocks_of(v->out->c), pieces = v->t.chunks;
  if (v->way == BY_BLOCKS) pieces = outs;
  if (v->way == BY_PIECES) pieces = v->t.all * outs;
#pragma omp for schedule(dynamic) nowait
  for (size_t i = 0; i < pieces; i++) {
    if (v->way == BY_CHUNKS) {
      chunk(v, &own, i);
    } else if (v->way == BY_BLOCKS) {
      make_filters(v, i, 0, v->in->c, own.more);
      products(v, &own, i, 0, v->t.all, v->patches, own.more);
    } else {
      size_t row = i / outs, step = v->t.wide * v->line;
      Positions at = {v->patches.p + row * step, v->patches.step};
      products(v, &own, i % outs, row, 1, at, filters_of(v, i % outs));
    }
  }
}

static void set_bias(const Convolution *v, const real *bias) {
  memset(v->bias, 0, blocks_of(v->out->c) * PANEL * sizeof *v->bias);
  if (bias != NULL) memcpy(v->bias, bias, v->out->c * sizeof *v->bias);
}

void conv_winograd(Precision how, const Act *in, Filters filters, const real *bias,
                   const Act *out, const Put *put, real *scratch, int threads) {
  Convolution v = convolution(how, in, filters, out, put, scratch, threads);
  set_bias(&v, bias);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    prepare(&v);
    produce(&v);
  }
}

/* ---- backward ---- */

real conv_winograd_backward(Precision how, const Act *in, Filters filters,
                            const Act *dout, FiltersTarget to, const Act *din,
                            const Put *put, real *scratch, int threads) {
  Filters back = {filters.p, filters.in_step, filters.out_step, true};
  FiltersSum s = filters_sum(how, in, dout, to, scratch, threads);
  Convolution v = {0};
  if (din != NULL) {
    v = convolution(how, dout, back, din, put,
                    scratch + filters_sum_room(in, dout, threads), threads);
    set_bias(&v, NULL);
  }
  size_t joins = filters_sum_joins(&s);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    if (din != NULL) prepare(&v);
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < filters_sum_pieces(&s); i++) filters_sum_piece(&s, i);
    if (din != NULL) produce(&v);
    if (joins > 0) {
#pragma omp barrier
#pragma omp for schedule(static) nowait
      for (size_t i = 0; i < joins; i++) filters_sum_join(&s, i);
    }
  }
  return filters_sum_largest(&s);
}

size_t conv_winograd_scratch(const Act *in, const Act *out, int threads) {
  Filters none = {0};
  size_t there = convolution(PRECISION_FP32, in, none, out, NULL, NULL, threads).total;
  size_t back = convolution(PRECISION_FP32, out, none, in, NULL, NULL, threads).total;
  return max_size(there, filters_sum_room(in, out, threads) + back) + 64;
}

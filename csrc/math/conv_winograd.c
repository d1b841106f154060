#include "math/conv_winograd.h"

#include <string.h>

#include "base/size.h"
#include "base/threads.h"
#include "math/elementwise.h"
#include "math/filters3x3.h"

typedef ptrdiff_t Index;

/* Squares that are worked on at a time: enough rows for a product, few enough that what
 * belongs to them stays in the second-level cache. */
#define CHUNK_SQUARES ((size_t)48)
/* Below these, not. */
#define FEWEST_CHANNELS ((size_t)16)
/* What a filter costs before it is used, in multiply-adds of each channel. */
#define FILTER_COST ((size_t)180)
/* With no more than these, filters are made block by block. */
#define FEW_SQUARES ((size_t)96)
/* Filters' gradients are summed in blocks of so many panels of channels either way,
 * over this many squares or more, in so many parts at most. */
#define SUM_BLOCKS ((size_t)2)
#define PART_SQUARES ((size_t)64)
#define MOST_PARTS ((size_t)16)
/* Numbers between positions, so that not all of them fall into one set of a cache. */
#define POSITION_GAP ((size_t)16)

/* Pieces of some size that make all. */
static inline size_t pieces_of(size_t all, size_t size) {
  /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): it takes itself for 0 and for not */
  return size == 0 ? 0 : (all + size - 1) / size;
}
static inline size_t blocks_of(size_t channels) { return pieces_of(channels, PANEL); }

/* ---- how images are cut ---- */

typedef struct Cut {
  size_t n, h, w;    /* of the images */
  size_t high, wide; /* squares of one */
  size_t rows;       /* of squares in a chunk; the last may have fewer */
  size_t all, chunks;
} Cut;

static Cut cut(const Act *a, size_t squares) {
  Cut t = {
      .n = a->n, .h = a->h, .w = a->w, .high = (a->h + 3) / 4, .wide = (a->w + 3) / 4};
  t.all = t.n * t.high;
  t.rows = min_size(max_size(squares / t.wide, 1), t.all);
  t.chunks = pieces_of(t.all, t.rows);
  return t;
}

/* Several chunks for each thread. */
static Cut cut_for(const Act *a, int threads) {
  size_t squares = a->n * ((a->h + 3) / 4) * ((a->w + 3) / 4);
  if (squares <= FEW_SQUARES) return cut(a, squares);
  return cut(a, threads > 1 ? min_size(CHUNK_SQUARES, squares / (2 * (size_t)threads))
                            : CHUNK_SQUARES);
}

static inline size_t chunk_rows(const Cut *t, size_t row) {
  return min_size(t->rows, t->all - row);
}

bool conv_winograd_pays(const Act *in, size_t channels) {
  size_t squares = in->n * ((in->h + 3) / 4) * ((in->w + 3) / 4);
  return in->c >= FEWEST_CHANNELS && channels >= FEWEST_CHANNELS &&
         9 * act_pixels(in) > 32 * squares + FILTER_COST;
}

/* ---- scratch ---- */

static inline size_t position_step(size_t numbers) { return numbers + POSITION_GAP; }
static inline size_t room(size_t numbers) {
  return WINOGRAD_POSITIONS * position_step(numbers);
}

static inline Positions take(real **scratch, size_t numbers) {
  Positions p = {*scratch, position_step(numbers)};
  *scratch += room(numbers);
  return p;
}

/* Pixels of a chunk, a block of channels, with what is read around them. */
static inline size_t pixel_room(const Cut *t) { return (4 * t->rows + 2) * t->w * PANEL; }

static size_t product_room(const Cut *t, size_t in, size_t out, int threads) {
  size_t squares = t->rows * t->wide, k = blocks_of(in) * PANEL;
  size_t own = pixel_room(t) + room(squares * PANEL);
  size_t shared = blocks_of(out) * PANEL;
  if (t->chunks == 1) {
    shared += room(squares * k);
    own += room(in * PANEL);
  } else {
    shared += blocks_of(out) * room(in * PANEL);
    own += room(squares * k);
  }
  return shared + own * (size_t)threads;
}

/* ---- filters ---- */

/* Filters that are transposed together. */
#define SOME_FILTERS ((size_t)16)

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

/* dw[outs][count·9], rows `step` apart, = beta·dw + what lies in rows[count][9][PANEL].
 */
static void scatter_filters(const real *rows, size_t count, size_t outs, real beta,
                            real *dw, size_t step) {
  real turned[PANEL * PANEL];
  for (size_t r = 0, n, all = count * FILTER_SIZE; r < all; r += n, dw += n) {
    n = min_size(all - r, PANEL);
    panel_transpose(rows + r * PANEL, PANEL, outs, n, turned);
    for (size_t o = 0; o < outs; o++)
      if (beta == 0)
        memcpy(dw + o * step, turned + o * PANEL, n * sizeof *dw);
      else
        axpy_range(dw + o * step, turned + o * PANEL, 1, n);
  }
}

/* ---- patches ---- */

/* What is made of rows of pixels: patches of six, or the four of a square alone. */
typedef struct Source {
  const Act *a;
  bool patches;
} Source;

static const real zeros[PANEL];

/* One row of squares; `pixels` begins with row y0 of the image. */
static void make_row(const Cut *t, const Source *from, const real *pixels, size_t y0,
                     size_t square_row, Positions v, size_t next, double *sums) {
  size_t count = from->patches ? 6 : 4;
  PixelRow row[6];
  for (size_t i = 0; i < count; i++) {
    size_t y = 4 * square_row + i; /* one more, with patches */
    bool inside = from->patches ? y >= 1 && y <= t->h : y < t->h;
    if (from->patches) y--;
    row[i] = inside ? (PixelRow){pixels + (y - y0) * t->w * PANEL, PANEL}
                    : (PixelRow){zeros, 0};
  }
  if (from->patches) {
    BY_ISA(conv_patches)(row, t->w, t->wide, v, next);
    return;
  }
  real sum[PANEL] = {0};
  BY_ISA(conv_spread)(row, t->w, t->wide, v, next, sum);
  for (size_t c = 0; sums != NULL && c < PANEL; c++) sums[c] += (double)sum[c];
}

/* Rows row … row+rows−1 of squares, counted over all images, of block b of channels. */
static void make_block(const Cut *t, const Source *from, size_t b, size_t row,
                       size_t rows, real *pixels, Positions v, size_t next,
                       double *sums) {
  const Act *a = from->a;
  size_t around = from->patches ? 1 : 0;
  for (size_t end = row + rows, some; row < end; row += some) {
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there are rows */
    size_t n = row / t->high, first = row % t->high;
    some = min_size(end - row, t->high - first);
    size_t y0 = first > 0 ? 4 * first - around : 0;
    size_t y1 = min_size(4 * (first + some) + around, t->h);
    panel_transpose(act_plane(a, n, b * PANEL) + y0 * t->w, a->cs, (y1 - y0) * t->w,
                    panel_columns(a->c, b), pixels);
    for (size_t i = 0; i < some; i++, v.p += t->wide * next)
      make_row(t, from, pixels, y0, first + i, v, next, sums);
  }
}

/* ---- squares ---- */

/* Pixels of block b of channels, some rows of image n, to their planes. */
static void put_pixels(const Act *out, size_t b, size_t n, size_t y, size_t count,
                       const real *pixels) {
  real turned[PANEL * PANEL], *to = act_plane(out, n, b * PANEL) + y * out->w;
  size_t channels = panel_columns(out->c, b);
  for (size_t i = 0, some; i < count; i += some, to += some, pixels += some * PANEL) {
    some = min_size(count - i, PANEL);
    panel_transpose(pixels, PANEL, channels, some, turned);
    for (size_t c = 0; c < channels; c++)
      memcpy(to + c * out->cs, turned + c * PANEL, some * sizeof *to);
  }
}

static void put_block(const Cut *t, const Act *out, size_t b, size_t row, size_t rows,
                      Positions m, const real *bias, real *pixels) {
  for (size_t i = row; i < row + rows; i++, m.p += t->wide * PANEL) {
    size_t y = i % t->high * 4, lines = min_size(4, t->h - y);
    BY_ISA(conv_squares)(m, t->wide, bias + b * PANEL, lines, t->w, pixels);
    put_pixels(out, b, i / t->high, y, lines * t->w, pixels);
  }
}

/* ---- convolution ---- */

/* Few squares: patches of all, then block by block of output channels. */
static void by_blocks(const Cut *t, const Act *in, const Filters *f, const real *bias,
                      const Act *out, real *scratch, int threads) {
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
      make_block(t, &from, (size_t)b, 0, t->all, pixels,
                 (Positions){v.p + (size_t)b * PANEL, v.step}, k, NULL);
#pragma omp for schedule(static)
    for (Index b = 0; b < (Index)blocks_of(out->c); b++) {
      make_filters(f, out->c, (size_t)b, 0, in->c, u);
      BY_ISA(conv_products)(squares, in->c, v, k, u, m);
      put_block(t, out, (size_t)b, 0, t->all, m, bias, pixels);
    }
  }
}

/* Many squares: all filters, then chunk by chunk. */
static void by_chunks(const Cut *t, const Act *in, const Filters *f, const real *bias,
                      const Act *out, real *scratch, int threads) {
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
#pragma omp for schedule(static)
    for (Index i = 0; i < (Index)(outs * blocks); i++) {
      size_t b = (size_t)i / blocks, c = (size_t)i % blocks * PANEL;
      real *at = filters + b * room(in->c * PANEL);
      make_filters(f, out->c, b, c, min_size(c + PANEL, in->c), take(&at, in->c * PANEL));
    }
#pragma omp for schedule(dynamic)
    for (Index i = 0; i < (Index)t->chunks; i++) {
      size_t row = (size_t)i * t->rows, rows = chunk_rows(t, row);
      for (size_t b = 0; b < blocks; b++)
        make_block(t, &from, b, row, rows, pixels, (Positions){v.p + b * PANEL, v.step},
                   k, NULL);
      for (size_t b = 0; b < outs; b++) {
        real *at = filters + b * room(in->c * PANEL);
        BY_ISA(conv_products)(rows * t->wide, in->c, v, k, take(&at, in->c * PANEL), m);
        put_block(t, out, b, row, rows, m, bias, pixels);
      }
    }
  }
}

void conv_winograd(const Act *in, Filters filters, const real *bias, const Act *out,
                   real *scratch, int threads) {
  Cut t = cut_for(in, threads);
  size_t padded = blocks_of(out->c) * PANEL;
  real *all = scratch;
  memset(all, 0, padded * sizeof *all);
  if (bias != NULL) memcpy(all, bias, out->c * sizeof *all);
  if (t.chunks == 1)
    by_blocks(&t, in, &filters, all, out, scratch + padded, threads);
  else
    by_chunks(&t, in, &filters, all, out, scratch + padded, threads);
}

/* ---- the filters' gradient ---- */

/* Parts of the sum, and blocks either way: by the problem alone. */
typedef struct Sum {
  Cut t;
  size_t parts, rows; /* of squares in a part */
  size_t ins, outs;
} Sum;

static Sum sum_of_parts(const Act *in, const Act *dout) {
  Sum s = {.t = cut(in, CHUNK_SQUARES / 2)};
  s.ins = pieces_of(blocks_of(in->c), SUM_BLOCKS);
  s.outs = pieces_of(blocks_of(dout->c), SUM_BLOCKS);
  size_t parts =
      min_size(s.t.all * s.t.wide / PART_SQUARES, MOST_PARTS / (s.ins * s.outs));
  s.rows = pieces_of(s.t.all, max_size(parts, 1));
  s.parts = pieces_of(s.t.all, s.rows);
  return s;
}

static inline size_t part_count(const Act *in, const Act *dout) {
  return dout->c * in->c * FILTER_SIZE + dout->c;
}

/* A thread's own: pixels, two kinds of patches, and sums. */
static size_t sum_room(const Sum *s) {
  size_t wide = SUM_BLOCKS * PANEL, squares = s->t.rows * s->t.wide;
  return pixel_room(&s->t) + 2 * room(squares * wide) + SUM_BLOCKS * room(wide * PANEL);
}

static size_t gradient_room(const Act *in, const Act *dout, int threads) {
  Sum s = sum_of_parts(in, dout);
  return s.parts * part_count(in, dout) + (size_t)threads * sum_room(&s);
}

/* Where one piece's gradient goes. */
typedef struct Target {
  real *dw, *db, beta, bias_beta;
} Target;

/* Filters of up to SUM_BLOCKS blocks of output channels by as many of input channels. */
typedef struct Piece {
  size_t out, outs; /* first block, blocks */
  size_t in, ins;   /* first channel, channels */
} Piece;

static void put_gradient(const Act *in, const Act *dout, const Piece *p, Positions u,
                         Target to) {
  real rows[SOME_FILTERS * FILTER_SIZE * PANEL];
  for (size_t b = 0; b < p->outs; b++, u.p += room(SUM_BLOCKS * PANEL * PANEL))
    for (size_t c = 0, n; c < p->ins; c += n) {
      n = min_size(p->ins - c, SOME_FILTERS);
      size_t at = (p->out + b) * PANEL * in->c + p->in + c;
      for (size_t i = 0; i < n; i++) BY_ISA(conv_filter_back)
      (rows + i * FILTER_SIZE * PANEL, (Positions){u.p + (c + i) * PANEL, u.step});
      scatter_filters(rows, n, panel_columns(dout->c, p->out + b), to.beta,
                      to.dw + at * FILTER_SIZE, in->c * FILTER_SIZE);
    }
}

/* One piece over rows row … end−1 of squares. */
static void sum_piece(const Sum *s, const Act *in, const Act *dout, const Piece *p,
                      size_t row, size_t end, Target to, real *scratch) {
  const Cut *t = &s->t;
  size_t wide = SUM_BLOCKS * PANEL, squares = t->rows * t->wide;
  real *pixels = scratch, *rest = pixels + pixel_room(t);
  Positions v = take(&rest, squares * wide), m = take(&rest, squares * wide),
            u = take(&rest, wide * PANEL);
  double sums[SUM_BLOCKS * PANEL] = {0};
  const Source x = {in, true}, dy = {dout, false};
  for (size_t rows, first = row; row < end; row += rows) {
    rows = min_size(t->rows, end - row);
    for (size_t b = 0; b < blocks_of(p->ins); b++)
      make_block(t, &x, p->in / PANEL + b, row, rows, pixels,
                 (Positions){v.p + b * PANEL, v.step}, wide, NULL);
    for (size_t b = 0; b < p->outs; b++) {
      Positions mb = {m.p + b * PANEL, m.step},
                ub = {u.p + b * room(wide * PANEL), u.step};
      make_block(t, &dy, p->out + b, row, rows, pixels, mb, wide, sums + b * PANEL);
      BY_ISA(conv_sums)(rows * t->wide, p->ins, v, wide, mb, wide, row > first, ub);
    }
  }
  put_gradient(in, dout, p, u, to);
  for (size_t i = p->out * PANEL, k = 0; to.db != NULL && k < p->outs * PANEL; i++, k++)
    if (i < dout->c) to.db[i] = (to.bias_beta == 0 ? 0 : to.db[i]) + (real)sums[k];
}

static Piece piece_at(const Sum *s, const Act *in, const Act *dout, size_t i) {
  size_t out = i / s->ins * SUM_BLOCKS, c = i % s->ins * SUM_BLOCKS * PANEL;
  return (Piece){out, min_size(SUM_BLOCKS, blocks_of(dout->c) - out), c,
                 min_size(SUM_BLOCKS * PANEL, in->c - c)};
}

void conv_winograd_gradient(const Act *in, const Act *dout, real *dw, real beta, real *db,
                            real bias_beta, real *scratch, int threads) {
  Sum s = sum_of_parts(in, dout);
  size_t count = in->c * dout->c * FILTER_SIZE, stride = part_count(in, dout);
  size_t pieces = s.ins * s.outs, own = sum_room(&s);
  real *parts = scratch, *rest = scratch + s.parts * stride;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < (Index)(s.parts * pieces); i++) {
    size_t part = (size_t)i / pieces, row = part * s.rows;
    Piece p = piece_at(&s, in, dout, (size_t)i % pieces);
    Target to = {dw, db, beta, bias_beta};
    if (s.parts > 1)
      to = (Target){parts + part * stride, parts + part * stride + count, 0, 0};
    if (p.in > 0) to.db = NULL;
    sum_piece(&s, in, dout, &p, row, min_size(row + s.rows, s.t.all), to,
              rest + (size_t)omp_get_thread_num() * own);
  }
  if (s.parts == 1) return;
  join_parts(parts, stride, count, s.parts, beta, dw);
  if (db != NULL) join_parts(parts + count, stride, dout->c, s.parts, bias_beta, db);
}

size_t conv_winograd_scratch(const Act *in, const Act *out, int threads) {
  Cut t = cut_for(in, threads);
  size_t product = max_size(product_room(&t, in->c, out->c, threads),
                            product_room(&t, out->c, in->c, threads));
  return max_size(product, gradient_room(in, out, threads)) + 64;
}

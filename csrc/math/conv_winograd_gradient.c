/* The filters' gradient (math/conv_winograd.h). */
#include <string.h>

#include "base/threads.h"
#include "math/conv_winograd.h"
#include "math/conv_winograd_squares.h"
#include "math/elementwise.h"
#include "math/filters3x3.h"

typedef ptrdiff_t Index;

/* Squares that are worked on at a time. */
#define SUM_SQUARES ((size_t)24)
/* Sums are made in blocks of so many panels of channels either way, or of one where there
 * are many threads; over this many squares or more, in so many parts at most. */
#define SUM_BLOCKS ((size_t)2)
#define MANY_THREADS 4
#define PART_SQUARES ((size_t)32)
#define SUM_PARTS ((size_t)16)

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

/* Parts of the sum: by the problem alone. */
typedef struct Sum {
  Cut t;
  size_t parts, rows; /* of squares in a part */
  size_t blocks;      /* panels of channels in a piece, either way, at most */
  size_t ins, outs;   /* pieces */
} Sum;

/* How the sum is cut.  Blocks may depend on the threads, because they cut no sum. */
static Sum sum_of_parts(const Act *in, const Act *dout, int threads) {
  size_t ins = blocks_of(in->c), outs = blocks_of(dout->c);
  Sum s = {.t = squares_cut(in, SUM_SQUARES)};
  size_t parts = min_size(s.t.all * s.t.wide / PART_SQUARES, SUM_PARTS / (ins * outs));
  s.rows = pieces_of(s.t.all, max_size(parts, 1));
  s.parts = pieces_of(s.t.all, s.rows);
  s.blocks = threads < MANY_THREADS ? SUM_BLOCKS : 1;
  s.ins = pieces_of(ins, s.blocks);
  s.outs = pieces_of(outs, s.blocks);
  return s;
}

static inline size_t part_count(const Act *in, const Act *dout) {
  return dout->c * in->c * FILTER_SIZE + dout->c;
}

/* Scratch of a thread: pixels, two kinds of patches, and sums. */
static size_t sum_room(const Sum *s) {
  size_t wide = s->blocks * PANEL, squares = s->t.rows * s->t.wide;
  return pixel_room(&s->t) + 2 * room(squares * wide) + s->blocks * room(wide * PANEL);
}

size_t conv_winograd_gradient_room(const Act *in, const Act *dout, int threads) {
  Sum s = sum_of_parts(in, dout, threads);
  return s.parts * part_count(in, dout) + (size_t)threads * sum_room(&s);
}

/* Where one piece's gradient goes. */
typedef struct Target {
  real *dw, *db, beta, bias_beta;
} Target;

/* Filters of some blocks of output channels by as many of input channels. */
typedef struct Piece {
  size_t out, outs; /* first block, blocks */
  size_t in, ins;   /* first channel, channels */
} Piece;

static void put_gradient(const Act *in, const Act *dout, const Piece *p, Positions u,
                         size_t step, Target to) {
  real rows[SOME_FILTERS * FILTER_SIZE * PANEL];
  for (size_t b = 0; b < p->outs; b++, u.p += step)
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
static void sum_piece(Precision how, const Sum *s, const Act *in, const Act *dout,
                      const Piece *p, size_t row, size_t end, Target to, real *scratch) {
  const Cut *t = &s->t;
  size_t wide = s->blocks * PANEL, squares = t->rows * t->wide;
  real *pixels = scratch, *rest = pixels + pixel_room(t);
  Positions v = take(&rest, squares * wide), m = take(&rest, squares * wide),
            u = take(&rest, wide * PANEL);
  double sums[SUM_BLOCKS * PANEL] = {0};
  const Source x = {in, true}, dy = {dout, false};
  for (size_t rows, first = row; row < end; row += rows) {
    rows = min_size(t->rows, end - row);
    for (size_t b = 0; b < blocks_of(p->ins); b++)
      squares_make(t, &x, p->in / PANEL + b, row, rows, pixels,
                   (Positions){v.p + b * PANEL, v.step}, wide, NULL);
    for (size_t b = 0; b < p->outs; b++) {
      Positions mb = {m.p + b * PANEL, m.step},
                ub = {u.p + b * room(wide * PANEL), u.step};
      squares_make(t, &dy, p->out + b, row, rows, pixels, mb, wide, sums + b * PANEL);
      BY_PRECISION(how, conv_sums)
      (rows * t->wide, p->ins, v, wide, mb, wide, row > first, ub);
    }
  }
  put_gradient(in, dout, p, u, room(wide * PANEL), to);
  for (size_t i = p->out * PANEL, k = 0; to.db != NULL && k < p->outs * PANEL; i++, k++)
    if (i < dout->c) to.db[i] = (to.bias_beta == 0 ? 0 : to.db[i]) + (real)sums[k];
}

static Piece piece_at(const Sum *s, const Act *in, const Act *dout, size_t i) {
  /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there are channels */
  size_t out = i / s->ins * s->blocks, c = i % s->ins * s->blocks * PANEL;
  return (Piece){out, min_size(s->blocks, blocks_of(dout->c) - out), c,
                 min_size(s->blocks * PANEL, in->c - c)};
}

void conv_winograd_gradient(Precision how, const Act *in, const Act *dout, real *dw,
                            real beta, real *db, real bias_beta, real *scratch,
                            int threads) {
  Sum s = sum_of_parts(in, dout, threads);
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
    sum_piece(how, &s, in, dout, &p, row, min_size(row + s.rows, s.t.all), to,
              rest + (size_t)omp_get_thread_num() * own);
  }
  if (s.parts == 1) return;
  join_parts(parts, stride, count, s.parts, beta, dw, threads);
  if (db != NULL)
    join_parts(parts + count, stride, dout->c, s.parts, bias_beta, db, threads);
}

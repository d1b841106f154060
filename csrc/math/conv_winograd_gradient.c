/* The filters' gradient (math/conv_winograd.h). */
#include "math/conv_winograd_gradient.h"

#include <string.h>

#include "base/threads.h"
#include "math/elementwise.h"
#include "math/filters3x3.h"

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

static FiltersSum cut_sum(const Act *in, const Act *dout, int threads) {
  size_t ins = blocks_of(in->c), outs = blocks_of(dout->c);
  FiltersSum s = {.in = in, .dout = dout, .t = squares_cut(in, SUM_SQUARES)};
  size_t parts = min_size(s.t.all * s.t.wide / PART_SQUARES, SUM_PARTS / (ins * outs));
  s.rows = pieces_of(s.t.all, max_size(parts, 1));
  s.parts = pieces_of(s.t.all, s.rows);
  s.blocks = threads < MANY_THREADS ? SUM_BLOCKS : 1;
  s.ins = pieces_of(ins, s.blocks);
  s.outs = pieces_of(outs, s.blocks);
  return s;
}

/* Numbers of dw, and of a part: dw and db. */
static inline size_t dw_count(const FiltersSum *s) {
  return s->dout->c * s->in->c * FILTER_SIZE;
}
static inline size_t part_count(const FiltersSum *s) { return dw_count(s) + s->dout->c; }

/* Scratch of a thread: pixels, two kinds of patches, and sums. */
static size_t sum_room(const FiltersSum *s) {
  size_t wide = s->blocks * PANEL, squares = s->t.rows * s->t.wide;
  return pixel_room(&s->t) + 2 * room(squares * wide) + s->blocks * room(wide * PANEL);
}

/* Numbers that are joined at a time: they stay in the first-level cache. */
#define JOIN_BLOCK ((size_t)1024)

/* Blocks of dw; then all of db. */
size_t filters_sum_joins(const FiltersSum *s) {
  return s->parts == 1 ? 0 : pieces_of(dw_count(s), JOIN_BLOCK) + 1;
}

size_t filters_sum_pieces(const FiltersSum *s) { return s->parts * s->ins * s->outs; }

/* Pieces of which `largest` is known. */
static size_t known_pieces(const FiltersSum *s) {
  return s->parts == 1 ? filters_sum_pieces(s) : filters_sum_joins(s) - 1;
}

static size_t part_room(const FiltersSum *s) {
  return s->parts == 1 ? 0 : round_up(s->parts * part_count(s));
}

size_t filters_sum_room(const Act *in, const Act *dout, int threads) {
  FiltersSum s = cut_sum(in, dout, threads);
  return part_room(&s) + round_up(known_pieces(&s)) + (size_t)threads * sum_room(&s);
}

FiltersSum filters_sum(Precision how, const Act *in, const Act *dout, FiltersTarget to,
                       real *scratch, int threads) {
  FiltersSum s = cut_sum(in, dout, threads);
  s.how = how;
  s.to = to;
  s.sums = scratch;
  s.largest = s.sums + part_room(&s);
  s.threads = s.largest + round_up(known_pieces(&s));
  return s;
}

/* Filters of some blocks of output channels by as many of input channels. */
typedef struct Piece {
  size_t out, outs; /* first block, blocks */
  size_t in, ins;   /* first channel, channels */
} Piece;

/* Returns the largest magnitude. */
static real put_gradient(const Act *in, const Act *dout, const Piece *p, Positions u,
                         size_t step, FiltersTarget to) {
  real rows[SOME_FILTERS * FILTER_SIZE * PANEL], most = 0;
  for (size_t b = 0; b < p->outs; b++, u.p += step)
    for (size_t c = 0, n; c < p->ins; c += n) {
      n = min_size(p->ins - c, SOME_FILTERS);
      size_t at = (p->out + b) * PANEL * in->c + p->in + c;
      for (size_t i = 0; i < n; i++) BY_ISA(conv_filter_back)
      (rows + i * FILTER_SIZE * PANEL, (Positions){u.p + (c + i) * PANEL, u.step});
      size_t outs = panel_columns(dout->c, p->out + b), step_dw = in->c * FILTER_SIZE;
      real *dw = to.dw + at * FILTER_SIZE;
      scatter_filters(rows, n, outs, to.beta, dw, step_dw);
      real top = largest_magnitude(dw, outs, n * FILTER_SIZE, step_dw);
      if (top > most) most = top;
    }
  return most;
}

/* One piece over rows row … end−1 of squares.  Returns the largest magnitude. */
static real sum_piece(const FiltersSum *s, const Piece *p, size_t row, size_t end,
                      FiltersTarget to) {
  const Cut *t = &s->t;
  size_t wide = s->blocks * PANEL, squares = t->rows * t->wide;
  real *pixels = s->threads + (size_t)omp_get_thread_num() * sum_room(s);
  real *rest = pixels + pixel_room(t);
  Positions v = take(&rest, squares * wide), m = take(&rest, squares * wide),
            u = take(&rest, wide * PANEL);
  double sums[SUM_BLOCKS * PANEL] = {0};
  const Source x = {s->in, true, false}, dy = {s->dout, false, false};
  for (size_t rows, first = row; row < end; row += rows) {
    rows = min_size(t->rows, end - row);
    for (size_t b = 0; b < blocks_of(p->ins); b++)
      squares_make(t, &x, p->in / PANEL + b, row, rows, pixels,
                   (Positions){v.p + b * PANEL, v.step}, wide, NULL);
    for (size_t b = 0; b < p->outs; b++) {
      Positions mb = {m.p + b * PANEL, m.step},
                ub = {u.p + b * room(wide * PANEL), u.step};
      squares_make(t, &dy, p->out + b, row, rows, pixels, mb, wide, sums + b * PANEL);
      BY_PRECISION(s->how, conv_sums)
      (rows * t->wide, p->ins, v, wide, mb, wide, row > first, ub);
    }
  }
  for (size_t i = p->out * PANEL, k = 0; to.db != NULL && k < p->outs * PANEL; i++, k++)
    if (i < s->dout->c) to.db[i] = (to.bias_beta == 0 ? 0 : to.db[i]) + (real)sums[k];
  return put_gradient(s->in, s->dout, p, u, room(wide * PANEL), to);
}

static Piece piece_at(const FiltersSum *s, size_t i) {
  /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there are channels */
  size_t out = i / s->ins * s->blocks, c = i % s->ins * s->blocks * PANEL;
  return (Piece){out, min_size(s->blocks, blocks_of(s->dout->c) - out), c,
                 min_size(s->blocks * PANEL, s->in->c - c)};
}

void filters_sum_piece(const FiltersSum *s, size_t i) {
  size_t pieces = s->ins * s->outs, part = i / pieces, row = part * s->rows;
  Piece p = piece_at(s, i % pieces);
  FiltersTarget to = s->to;
  if (s->parts > 1) {
    real *at = s->sums + part * part_count(s);
    to = (FiltersTarget){at, at + dw_count(s), 0, 0};
  }
  if (p.in > 0) to.db = NULL;
  real most = sum_piece(s, &p, row, min_size(row + s->rows, s->t.all), to);
  if (s->parts == 1) s->largest[i] = most;
}

void filters_sum_join(const FiltersSum *s, size_t i) {
  size_t count = dw_count(s), stride = part_count(s), at = i * JOIN_BLOCK;
  if (at < count) {
    size_t n = min_size(count - at, JOIN_BLOCK);
    join_range(s->sums + at, stride, n, s->parts, s->to.beta, s->to.dw + at);
    s->largest[i] = largest_magnitude(s->to.dw + at, 1, n, 0);
  } else if (s->to.db != NULL) {
    join_range(s->sums + count, stride, s->dout->c, s->parts, s->to.bias_beta, s->to.db);
  }
}

real filters_sum_largest(const FiltersSum *s) {
  return largest_magnitude(s->largest, 1, known_pieces(s), 0);
}

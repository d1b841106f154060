/* The gradient of a plain convolution's weight (math/conv_weight_sum.h). */
#include "math/conv_weight_sum.h"

#include "base/threads.h"
#include "math/conv_columns.h"
#include "math/elementwise.h"

/* Sums over many tiles are made in this many fixed parts, then joined in order, so that
 * the sum does not depend on the number of threads. */
#define GRADIENT_PARTS ((size_t)8)
/* Numbers in a row of a weight that make a piece of work, where pixels are few, for few
 * threads and for more. */
#define PIECE_COLUMNS ((size_t)288)
#define NARROW_COLUMNS ((size_t)64)
/* The fewest output channels that repay making columns once more. */
#define LEAST_OUTPUTS ((size_t)16)
/* Numbers that are joined at a time: they stay in the first-level cache. */
#define JOIN_BLOCK ((size_t)1024)

/* Input channels of a piece of the only part. */
static size_t channels_of_piece(const ConvGeometry *g, size_t k, int threads) {
  size_t columns = k < PIECE_COLUMNS * (size_t)threads ? NARROW_COLUMNS : PIECE_COLUMNS;
  return max_size((threads > 1 ? columns : PIECE_COLUMNS) / (g->kh * g->kw), 1);
}

/* Input channels of a piece of one of so many parts: all, unless threads would have
 * nothing to do. */
static size_t channels_of_part(const Act *in, const ConvGeometry *g, size_t parts,
                               int threads) {
  size_t blocks = (4 * (size_t)threads + parts - 1) / parts, kk = g->kh * g->kw;
  if (threads <= 2) return in->c;
  return max_size((in->c + blocks - 1) / blocks, max_size(NARROW_COLUMNS / kk, 1));
}

/* Output channels of a piece: all, likewise. */
static size_t outputs_of_piece(size_t channels, size_t pieces, int threads) {
  size_t some = channels;
  while (threads > 2 && some >= 2 * LEAST_OUTPUTS &&
         pieces * ((channels + some - 1) / some) < 2 * (size_t)threads)
    some = (some + 1) / 2;
  return some;
}

WeightSum weight_sum(const Act *in, const ConvGeometry *g, const Act *dout,
                     GradientTarget to, real *scratch, int threads) {
  WeightSum s = {.in = in, .dout = dout, .g = g, .to = to, .t = tile(dout)};
  size_t kk = g->kh * g->kw, k = in->c * kk;
  s.parts = tile_count(&s.t) < GRADIENT_PARTS ? 1 : GRADIENT_PARTS;
  s.direct = s.parts == 1 && to.weight_beta == 0 && to.bias_beta == 0;
  s.few = s.direct ? channels_of_piece(g, k, threads)
                   : channels_of_part(in, g, s.parts, threads);
  s.few = max_size(min_size(s.few, in->c), 1);
  s.ins = (in->c + s.few - 1) / s.few;
  s.some = max_size(outputs_of_piece(dout->c, s.parts * s.ins, threads), 1);
  s.outs = (dout->c + s.some - 1) / s.some;
  s.count = dout->c * k;
  s.stride = s.count + dout->c;
  s.own = round_up(s.few * kk * s.t.rows_per_tile * s.t.ow);
  size_t known = s.direct ? s.ins * s.outs : weight_sum_joins(&s);
  s.sums = scratch;
  size_t at = s.direct ? 0 : round_up(s.parts * s.stride);
  s.largest = scratch + at;
  at += round_up(known);
  s.threads = scratch + at;
  s.total = at + s.own * (size_t)threads;
  return s;
}

size_t conv_weight_sum_room(const ConvGeometry *g, const Act *in, const Act *out,
                            int threads) {
  GradientTarget adding = {.weight_beta = 1}, none = {0};
  Act view = columns_act(in, g, out, NULL);
  ConvGeometry one = one_by_one(g);
  size_t most = weight_sum(in, g, out, none, NULL, threads).total;
  most = max_size(most, weight_sum(in, g, out, adding, NULL, threads).total);
  most = max_size(most, weight_sum(&view, &one, out, none, NULL, threads).total);
  return round_up(
      max_size(most, weight_sum(&view, &one, out, adding, NULL, threads).total));
}

CLONES double conv_sum_of(const real *p, size_t n) {
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (size_t x = 0; x < n; x++) s += (double)p[x];
  return s;
}

/* dout·colsᵀ over the tiles first, first + step, … */
static void sum_tiles(const Act *in, const ConvGeometry *g, const Act *dout,
                      const Tiling *t, size_t first, size_t step, real *buf,
                      GradientTarget to) {
  size_t k = in->c * g->kh * g->kw;
  for (size_t i = first; i < tile_count(t); i += step) {
    size_t row0, rows, ld;
    size_t at = tile_at(t, dout, i, &row0, &rows), n = rows * t->ow;
    const real *b = conv_tile_columns(in, g, dout, row0, rows, buf, &ld);
    gemm(g->precision, NO_TRANS, TRANS, dout->c, k, n, dout->data + at, dout->cs, b, ld,
         to.weight_beta == 0 ? NULL : to.dw, to.dw, to.ldw);
    for (size_t c = 0; to.db != NULL && c < dout->c; c++) {
      double s = conv_sum_of(dout->data + c * dout->cs + at, n);
      to.db[c] = (to.bias_beta == 0 ? 0 : to.db[c]) + (real)s;
    }
    to.weight_beta = to.bias_beta = 1;
  }
}

void weight_sum_piece(const WeightSum *s, size_t i) {
  size_t kk = s->g->kh * s->g->kw, k = s->in->c * kk, part = i / s->ins / s->outs;
  size_t c = i % s->ins * s->few, o = i / s->ins % s->outs * s->some;
  Act in = act_channels(s->in, c, min_size(s->in->c - c, s->few));
  Act dout = act_channels(s->dout, o, min_size(s->dout->c - o, s->some));
  GradientTarget to = s->to;
  if (!s->direct) {
    real *at = s->sums + part * s->stride;
    to = (GradientTarget){at, k, at + s->count, 0, 0};
  }
  to.dw += o * to.ldw + c * kk;
  to.db = c > 0 || to.db == NULL ? NULL : to.db + o;
  sum_tiles(&in, s->g, &dout, &s->t, part, s->parts,
            s->threads + (size_t)omp_get_thread_num() * s->own, to);
  if (s->direct) s->largest[i] = largest_magnitude(to.dw, dout.c, in.c * kk, to.ldw);
}

/* Blocks of dw; then all of db. */
size_t weight_sum_joins(const WeightSum *s) {
  return s->direct ? 0 : (s->count + JOIN_BLOCK - 1) / JOIN_BLOCK + 1;
}

void weight_sum_join(const WeightSum *s, size_t i) {
  size_t at = i * JOIN_BLOCK;
  if (at < s->count) {
    size_t n = min_size(s->count - at, JOIN_BLOCK);
    join_range(s->sums + at, s->stride, n, s->parts, s->to.weight_beta, s->to.dw + at);
    s->largest[i] = largest_magnitude(s->to.dw + at, 1, n, 0);
  } else if (s->to.db != NULL) {
    join_range(s->sums + s->count, s->stride, s->dout->c, s->parts, s->to.bias_beta,
               s->to.db);
  }
}

real weight_sum_largest(const WeightSum *s) {
  return largest_magnitude(s->largest, 1,
                           s->direct ? s->ins * s->outs : weight_sum_joins(s) - 1, 0);
}

real weight_sum_all(const WeightSum *s, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < weight_sum_pieces(s); i++) weight_sum_piece(s, i);
#pragma omp for schedule(static) nowait
    for (size_t i = 0; i < weight_sum_joins(s); i++) weight_sum_join(s, i);
  }
  return weight_sum_largest(s);
}

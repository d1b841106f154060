/* Convolutions in tiles of rows: columns, then products. */
#include "math/conv.h"

#include <string.h>

#include "base/size.h"
#include "base/threads.h"
#include "math/conv_few.h"
#include "math/conv_tiles.h"
#include "math/conv_transpose.h"
#include "math/conv_winograd.h"
#include "math/elementwise.h"
#include "math/gemm.h"

/* Weight gradients are summed in this many fixed parts, then joined in order,
 * so that the sum does not depend on the number of threads. */
#define GRADIENT_PARTS 8
/* Rows of a product that repay making its columns, where tiles are too few. */
#define LEAST_CHANNELS ((size_t)16)

/* As much scratch as this is not to be had; sums and products of a few such
 * sizes do not overflow. */
#define CONV_SCRATCH_MAX ((size_t)1 << 48)

typedef ptrdiff_t Index;

size_t conv_out_size(size_t in, size_t kernel, size_t stride, size_t pad) {
  size_t padded = in + 2 * pad;
  return kernel == 0 || stride == 0 || padded < kernel ? 0
                                                       : (padded - kernel) / stride + 1;
}

static inline size_t kernel_size(const ConvGeometry *g, size_t c) {
  return c * g->kh * g->kw;
}

static inline bool pointwise(const ConvGeometry *g) {
  return g->kh == 1 && g->kw == 1 && g->sh == 1 && g->sw == 1 && g->ph == 0 && g->pw == 0;
}

static inline bool same_stride1(const ConvGeometry *g) {
  return g->sh == 1 && g->sw == 1 && 2 * g->ph + 1 == g->kh && 2 * g->pw + 1 == g->kw;
}

static ConvGeometry one_by_one(const ConvGeometry *g) {
  return (ConvGeometry){1, 1, 1, 1, 0, 0, g->precision};
}

/* A convolution whose columns lie ready is one by 1×1 kernels on them. */
static Act columns_act(const Act *in, const ConvGeometry *g, const Act *out,
                       const real *cols) {
  return act_cnhw((real *)cols, out->n, kernel_size(g, in->c), out->h, out->w);
}

static bool by_winograd(const ConvGeometry *g, const Act *in, size_t out) {
  return g->kh == 3 && g->kw == 3 && same_stride1(g) &&
         conv_winograd_pays(g->precision, in, out);
}

/* Many channels to a few: nine planes of each output are a product of its kernels with
 * the input as it lies, and no columns of many channels are formed. */
static bool narrows(const ConvGeometry *g, size_t in, size_t out) {
  return same_stride1(g) && g->kh * g->kw > 1 && 8 * out <= in;
}

static size_t plain_scratch(const ConvGeometry *g, const Act *in, const Act *out,
                            int threads) {
  size_t few = conv_few_pays(g, out) ? conv_few_scratch(g, in, out) : 0;
  if (few > CONV_SCRATCH_MAX) return CONV_SCRATCH_MAX;
  Tiling t = tile(out), back = tile(in); /* the input's gradient is cut as in is */
  size_t tile_columns = t.rows_per_tile * t.ow;
  if (same_stride1(g))
    tile_columns = max_size(tile_columns, back.rows_per_tile * back.ow);
  size_t k = kernel_size(g, in->c), ko = kernel_size(g, out->c);
  double most = (double)max_size(k, ko) * (double)max_size(tile_columns, out->h * out->w);
  if (most > (double)CONV_SCRATCH_MAX) return CONV_SCRATCH_MAX;
  size_t tiles =
      max_size(k, ko) * tile_columns * (size_t)max_size(threads, GRADIENT_PARTS);
  size_t parts = GRADIENT_PARTS * (out->c * k + out->c);
  size_t whole = conv_transpose_scratch(g, in, out, threads);
  if (same_stride1(g)) whole = out->c * k;
  return max_size(few, tiles + parts + whole + 64);
}

size_t conv_scratch(const ConvGeometry *g, const Act *in, const Act *out, int threads) {
  if (by_winograd(g, in, out->c)) return conv_winograd_scratch(in, out, threads);
  size_t plain = plain_scratch(g, in, out, threads);
  if (!narrows(g, in->c, out->c) || plain >= CONV_SCRATCH_MAX) return plain;
  size_t planes = (size_t)threads * out->c * g->kh * g->kw * out->h * out->w;
  return max_size(plain, plain_scratch(g, out, in, threads) + planes) +
         out->c * kernel_size(g, in->c);
}

/* The tile's columns: the input itself for a 1×1 kernel, or gathered into buf. */
static const real *tile_columns(const Act *in, const ConvGeometry *g, const Act *out,
                                size_t row0, size_t rows, real *buf, size_t *ld) {
  if (pointwise(g) && (act_batch_contiguous(in) || !act_batch_contiguous(out))) {
    *ld = in->cs;
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there are rows, or no tile */
    return act_plane(in, row0 / in->h, 0) + row0 % in->h * in->w;
  }
  *ld = rows * out->w;
  im2col(in, g, out->h, out->w, row0, rows, buf, *ld);
  return buf;
}

/* Kernels turned by 180°, with the channels exchanged: [in][out·kh·kw]. */
static void turn(const real *weight, const ConvGeometry *g, size_t out, size_t in,
                 real *turned) {
  size_t kk = g->kh * g->kw, k = out * kk;
  for (size_t o = 0; o < out; o++)
    for (size_t c = 0; c < in; c++)
      for (size_t i = 0; i < kk; i++)
        turned[c * k + o * kk + (kk - 1 - i)] = weight[(o * in + c) * kk + i];
}

CLONES static void add_number(real *p, real v, size_t n) {
  for (size_t i = 0; i < n; i++) p[i] += v;
}

/* A convolution that narrows is the transpose of one that widens. */
static void narrow_forward(const Act *in, const real *weight, const real *bias,
                           const ConvGeometry *g, const Act *out, real *scratch,
                           int threads) {
  turn(weight, g, out->c, in->c, scratch);
  conv_transpose(scratch, g, in, out, scratch + out->c * kernel_size(g, in->c), threads);
  for (size_t n = 0; bias != NULL && n < out->n; n++)
    for (size_t o = 0; o < out->c; o++)
      add_number(act_plane(out, n, o), bias[o], out->h * out->w);
}

/* Output channels of a piece of work: all, unless threads would have nothing to do. */
static size_t channels_of_piece(size_t channels, size_t tiles, int threads) {
  size_t blocks = tiles >= (size_t)threads ? 1 : (size_t)threads / max_size(tiles, 1);
  return max_size((channels + blocks - 1) / blocks, LEAST_CHANNELS);
}

void conv_forward(const Act *in, const real *weight, const real *bias,
                  const ConvGeometry *g, const Act *out, const real *cols, real *scratch,
                  int threads) {
  if (cols != NULL) {
    Act view = columns_act(in, g, out, cols);
    ConvGeometry one = one_by_one(g);
    conv_forward(&view, weight, bias, &one, out, NULL, scratch, threads);
    return;
  }
  if (by_winograd(g, in, out->c)) {
    Filters f = {weight, in->c * 9, 9, false};
    conv_winograd(g->precision, in, f, bias, out, scratch, threads);
    return;
  }
  if (conv_few_pays(g, out) && !pointwise(g)) {
    conv_few_forward(in, weight, bias, g, out, scratch, threads);
    return;
  }
  if (narrows(g, in->c, out->c)) {
    narrow_forward(in, weight, bias, g, out, scratch, threads);
    return;
  }
  Tiling t = tile_for(out, threads);
  size_t k = kernel_size(g, in->c);
  size_t stride = k * t.rows_per_tile * t.ow;
  size_t tiles = tile_count(&t), some = channels_of_piece(out->c, tiles, threads);
  size_t blocks = (out->c + some - 1) / some;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < (Index)(tiles * blocks); i++) {
    size_t row0, rows, ld, o = (size_t)i % blocks * some;
    size_t at = tile_at(&t, out, (size_t)i / blocks, &row0, &rows), n = rows * t.ow;
    real *buf = scratch + (size_t)omp_get_thread_num() * (threads > 1 ? stride : 0);
    const real *b = tile_columns(in, g, out, row0, rows, buf, &ld);
    gemm(g->precision, NO_TRANS, NO_TRANS, min_size(out->c - o, some), n, k,
         weight + o * k, k, b, ld, bias ? bias + o : NULL, out->data + o * out->cs + at,
         out->cs);
  }
}

CLONES static double sum_of(const real *p, size_t n) {
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (size_t x = 0; x < n; x++) s += (double)p[x];
  return s;
}

/* Where a weight gradient goes: dw = beta·dw + …, its rows ldw apart; db likewise unless
 * NULL. */
typedef struct GradientTarget {
  real *dw;
  size_t ldw;
  real *db, weight_beta, bias_beta;
} GradientTarget;

/* dout·colsᵀ over the tiles first, first + step, … */
static void weight_gradient_part(const Act *in, const ConvGeometry *g, const Act *dout,
                                 const Tiling *t, size_t first, size_t step, real *buf,
                                 GradientTarget to) {
  size_t k = kernel_size(g, in->c);
  for (size_t i = first; i < tile_count(t); i += step) {
    size_t row0, rows, ld;
    size_t at = tile_at(t, dout, i, &row0, &rows), n = rows * t->ow;
    const real *b = tile_columns(in, g, dout, row0, rows, buf, &ld);
    gemm(g->precision, NO_TRANS, TRANS, dout->c, k, n, dout->data + at, dout->cs, b, ld,
         to.weight_beta == 0 ? NULL : to.dw, to.dw, to.ldw);
    for (size_t c = 0; to.db != NULL && c < dout->c; c++) {
      double s = sum_of(dout->data + c * dout->cs + at, n);
      to.db[c] = (to.bias_beta == 0 ? 0 : to.db[c]) + (real)s;
    }
    to.weight_beta = to.bias_beta = 1;
  }
}

/* Numbers in a row of a weight that make a piece of work, where pixels are few, for few
 * threads and for more. */
#define PIECE_COLUMNS ((size_t)288)
#define NARROW_COLUMNS ((size_t)64)

static inline size_t pixels_of(const Tiling *t) { return t->rows_per_tile * t->ow; }

/* Input channels of a piece of one of so many parts: all, unless threads would have
 * nothing to do. */
static size_t channels_of_part(const Act *in, const ConvGeometry *g, size_t parts,
                               int threads) {
  size_t blocks = (4 * (size_t)threads + parts - 1) / parts, kk = g->kh * g->kw;
  if (threads <= 2) return in->c;
  return max_size((in->c + blocks - 1) / blocks, max_size(NARROW_COLUMNS / kk, 1));
}

/* The weight gradient over all tiles, piece by piece of input channels. */
static void weight_gradient_pieces(const Act *in, const ConvGeometry *g, const Act *dout,
                                   const Tiling *t, GradientTarget to, real *scratch,
                                   int threads) {
  size_t kk = g->kh * g->kw, k = kernel_size(g, in->c);
  size_t columns = k < PIECE_COLUMNS * (size_t)threads ? NARROW_COLUMNS : PIECE_COLUMNS;
  size_t some = max_size((threads > 1 ? columns : PIECE_COLUMNS) / kk, 1);
  size_t own = some * kk * pixels_of(t);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < (Index)((in->c + some - 1) / some); i++) {
    size_t c = (size_t)i * some;
    Act part = act_channels(in, c, min_size(in->c - c, some));
    GradientTarget piece = to;
    piece.dw += c * kk;
    if (i > 0) piece.db = NULL;
    weight_gradient_part(&part, g, dout, t, 0, 1,
                         scratch + (size_t)omp_get_thread_num() * own, piece);
  }
}

static void weight_gradient(const Act *in, const ConvGeometry *g, const Act *dout,
                            GradientTarget to, real *scratch, int threads) {
  Tiling t = tile(dout);
  size_t k = kernel_size(g, in->c);
  size_t nparts = tile_count(&t) < GRADIENT_PARTS ? 1 : GRADIENT_PARTS;
  size_t count = dout->c * k, stride = count + dout->c;
  if (nparts == 1 && to.weight_beta == 0 && to.bias_beta == 0) {
    weight_gradient_pieces(in, g, dout, &t, to, scratch, threads);
    return;
  }
  size_t some = channels_of_part(in, g, nparts, threads), own = pixels_of(&t) * k;
  size_t blocks = (in->c + some - 1) / some;
  real *parts = scratch + own * (size_t)max_size((size_t)threads, GRADIENT_PARTS);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < (Index)(nparts * blocks); i++) {
    size_t p = (size_t)i / blocks, c = (size_t)i % blocks * some;
    real *part = parts + p * stride;
    Act few = act_channels(in, c, min_size(in->c - c, some));
    GradientTarget piece = {part + c * g->kh * g->kw, k, c > 0 ? NULL : part + count, 0,
                            0};
    weight_gradient_part(&few, g, dout, &t, p, nparts,
                         scratch + (size_t)omp_get_thread_num() * own, piece);
  }
  join_parts(parts, stride, count, nparts, to.weight_beta, to.dw, threads);
  if (to.db != NULL)
    join_parts(parts + count, stride, dout->c, nparts, to.bias_beta, to.db, threads);
}

/* The weight gradient of a convolution that narrows: that of the one that widens, turned.
 */
static void narrow_gradient(const Act *in, const ConvGeometry *g, const Act *dout,
                            GradientTarget to, real *scratch, int threads) {
  size_t kk = g->kh * g->kw, count = dout->c * in->c * kk;
  weight_gradient(dout, g, in,
                  (GradientTarget){scratch, kernel_size(g, dout->c), NULL, 0, 0},
                  scratch + count, threads);
  for (size_t i = 0; i < count; i++) {
    size_t o = i / (in->c * kk), c = i / kk % in->c, t = kk - 1 - i % kk;
    to.dw[i] = (to.weight_beta == 0 ? 0 : to.dw[i]) + scratch[(c * dout->c + o) * kk + t];
  }
  for (size_t o = 0; to.db != NULL && o < dout->c; o++) {
    double s = 0;
    for (size_t n = 0; n < dout->n; n++)
      s += sum_of(act_plane(dout, n, o), dout->h * dout->w);
    to.db[o] = (to.bias_beta == 0 ? 0 : to.db[o]) + (real)s;
  }
}

/* Stride 1, same padding: the input gradient is itself such a convolution, of
 * dout with the kernels turned by 180° and the channels exchanged. */
static void input_gradient_same(const real *weight, const ConvGeometry *g,
                                const Act *dout, const Act *din, real *scratch,
                                int threads) {
  turn(weight, g, dout->c, din->c, scratch);
  conv_forward(dout, scratch, NULL, g, din, NULL,
               scratch + din->c * kernel_size(g, dout->c), threads);
}

/* The gradient of the input where the kernel is 1×1 and pixels lie in one order:
 * W^T·dout. */
static void input_gradient_one(const real *weight, const ConvGeometry *g, const Act *dout,
                               const Act *din, int threads) {
  Tiling t = tile_for(dout, threads);
  if (t.blocks == 1 && !act_batch_contiguous(din)) t = tile_for(din, threads);
  Index tiles = (Index)tile_count(&t);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < tiles; i++) {
    size_t row0, rows;
    tile_at(&t, dout, (size_t)i, &row0, &rows);
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there are rows, or no tile */
    size_t n = row0 / dout->h, at = row0 % dout->h * dout->w;
    gemm(g->precision, TRANS, NO_TRANS, din->c, rows * dout->w, dout->c, weight, din->c,
         act_plane(dout, n, 0) + at, dout->cs, NULL, act_plane(din, n, 0) + at, din->cs);
  }
}

static void input_gradient(const real *weight, const ConvGeometry *g, const Act *dout,
                           const Act *din, real *scratch, int threads) {
  if (pointwise(g)) {
    input_gradient_one(weight, g, dout, din, threads);
  } else if (conv_few_pays(g, dout)) {
    conv_few_backward(weight, g, dout, din, scratch, threads);
  } else if (same_stride1(g)) {
    input_gradient_same(weight, g, dout, din, scratch, threads);
  } else {
    conv_transpose(weight, g, dout, din, scratch, threads);
  }
}

/* The largest magnitude in a weight's gradient, which is in cache. */
static real largest_by_threads(const real *dw, size_t rows, size_t columns, int threads) {
  real most = 0;
#pragma omp parallel for reduction(max : most) num_threads(threads) if (threads > 1)
  for (size_t o = 0; o < rows; o++) {
    real top = largest_magnitude(dw + o * columns, 1, columns, 0);
    if (top > most) most = top;
  }
  return most;
}

real conv_backward(const Act *in, const real *weight, const ConvGeometry *g,
                   const Act *dout, const Act *din, real *dweight, real weight_beta,
                   real *dbias, real bias_beta, const real *cols, real *scratch,
                   int threads) {
  if (cols == NULL && by_winograd(g, in, dout->c)) {
    Filters f = {weight, in->c * 9, 9, false};
    FiltersTarget target = {dweight, dbias, weight_beta, bias_beta};
    return conv_winograd_backward(g->precision, in, f, dout, target, din, scratch,
                                  threads);
  }
  Act view = columns_act(in, g, dout, cols);
  ConvGeometry one = one_by_one(g);
  GradientTarget to = {dweight, kernel_size(g, in->c), dbias, weight_beta, bias_beta};
  if (cols == NULL && narrows(g, in->c, dout->c))
    narrow_gradient(in, g, dout, to, scratch, threads);
  else
    weight_gradient(cols ? &view : in, cols ? &one : g, dout, to, scratch, threads);
  if (din != NULL) input_gradient(weight, g, dout, din, scratch, threads);
  return largest_by_threads(dweight, dout->c, kernel_size(g, in->c), threads);
}

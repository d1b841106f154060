/* Convolutions in tiles of rows: columns, then products. */
#include "math/conv.h"

#include <string.h>

#include "base/size.h"
#include "base/threads.h"
#include "math/conv_columns.h"
#include "math/conv_few.h"
#include "math/conv_tiles.h"
#include "math/conv_transpose.h"
#include "math/conv_weight_sum.h"
#include "math/conv_winograd.h"
#include "math/elementwise.h"
#include "math/gemm.h"

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
  size_t tiles = max_size(k, ko) * tile_columns * (size_t)threads;
  size_t whole = conv_transpose_scratch(g, in, out, threads);
  if (same_stride1(g)) whole = out->c * k;
  return max_size(few, tiles + whole) + conv_weight_sum_room(g, in, out, threads) + 64;
}

/* Reals for a convolution that narrows, as its own forward pass or as the input's
 * gradient of one that widens: the kernels turned, and the columns that are added. */
static size_t narrow_scratch(const ConvGeometry *g, const Act *in, const Act *out,
                             int threads) {
  return out->c * kernel_size(g, in->c) + conv_transpose_scratch(g, out, in, threads);
}

size_t conv_scratch(const ConvGeometry *g, const Act *in, const Act *out, int threads) {
  if (by_winograd(g, in, out->c)) return conv_winograd_scratch(in, out, threads);
  size_t plain = plain_scratch(g, in, out, threads);
  if (plain >= CONV_SCRATCH_MAX) return plain;
  if (narrows(g, out->c, in->c)) return plain + narrow_scratch(g, out, in, threads);
  if (!narrows(g, in->c, out->c)) return plain;
  return max_size(plain, plain_scratch(g, out, in, threads)) +
         narrow_scratch(g, in, out, threads);
}

const real *conv_tile_columns(const Act *in, const ConvGeometry *g, const Act *out,
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

void conv_turn(const real *weight, const ConvGeometry *g, size_t out, size_t in,
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
  conv_turn(weight, g, out->c, in->c, scratch);
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
  if (cols == NULL) {
    conv_forward_put(in, weight, bias, g, out, &plainly, scratch, threads);
    return;
  }
  Act view = columns_act(in, g, out, cols);
  ConvGeometry one = one_by_one(g);
  conv_forward_put(&view, weight, bias, &one, out, &plainly, scratch, threads);
}

static void tiles_forward(const Act *in, const real *weight, const real *bias,
                          const ConvGeometry *g, const Act *out, const Put *put,
                          real *scratch, int threads) {
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
    const real *b = conv_tile_columns(in, g, out, row0, rows, buf, &ld);
    size_t channels = min_size(out->c - o, some);
    gemm(g->precision, NO_TRANS, NO_TRANS, channels, n, k, weight + o * k, k, b, ld,
         bias ? bias + o : NULL, out->data + o * out->cs + at, out->cs);
    if (put->how != PUT_PLAIN) put_pixel_rows(put, out, out, o, channels, row0, rows);
  }
}

void conv_forward_put(const Act *in, const real *weight, const real *bias,
                      const ConvGeometry *g, const Act *out, const Put *put,
                      real *scratch, int threads) {
  if (by_winograd(g, in, out->c)) {
    Filters f = {weight, in->c * 9, 9, false};
    conv_winograd(g->precision, in, f, bias, out, put, scratch, threads);
  } else if (conv_few_pays(g, out) && !pointwise(g)) {
    conv_few_forward(in, weight, bias, g, out, scratch, threads);
    put_all(put, out, out, threads);
  } else if (narrows(g, in->c, out->c)) {
    narrow_forward(in, weight, bias, g, out, scratch, threads);
    put_all(put, out, out, threads);
  } else {
    tiles_forward(in, weight, bias, g, out, put, scratch, threads);
  }
}

/* The backward pass of convolutions (math/conv.h). */
#include "base/threads.h"
#include "math/conv.h"
#include "math/conv_columns.h"
#include "math/conv_few.h"
#include "math/conv_transpose.h"
#include "math/conv_weight_sum.h"
#include "math/elementwise.h"

typedef ptrdiff_t Index;

/* The weight gradient of a convolution that narrows: that of the one that widens, turned.
 */
static void narrow_gradient(const Act *in, const ConvGeometry *g, const Act *dout,
                            GradientTarget to, real *scratch, int threads) {
  size_t kk = g->kh * g->kw, count = dout->c * in->c * kk;
  GradientTarget turned = {scratch, kernel_size(g, dout->c), NULL, 0, 0};
  WeightSum sum = weight_sum(dout, g, in, turned, scratch + count, threads);
  weight_sum_all(&sum, threads);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (size_t o = 0; o < dout->c; o++) {
    for (size_t j = 0, i = o * in->c * kk; j < in->c * kk; j++, i++) {
      size_t c = j / kk, t = kk - 1 - j % kk;
      to.dw[i] =
          (to.weight_beta == 0 ? 0 : to.dw[i]) + scratch[(c * dout->c + o) * kk + t];
    }
    double s = 0;
    for (size_t n = 0; to.db != NULL && n < dout->n; n++)
      s += conv_sum_of(act_plane(dout, n, o), dout->h * dout->w);
    if (to.db != NULL) to.db[o] = (to.bias_beta == 0 ? 0 : to.db[o]) + (real)s;
  }
}

/* Stride 1, same padding: the input gradient is itself such a convolution, of
 * dout with the kernels turned by 180° and the channels exchanged. */
static void input_gradient_same(const real *weight, const ConvGeometry *g,
                                const Act *dout, const Act *din, real *scratch,
                                int threads) {
  conv_turn(weight, g, dout->c, din->c, scratch);
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

/* The input's gradient where it is found before it is put: there itself, or in the room.
 */
static Act unput(const Put *put, const Act *din) {
  return put->how == PUT_ADD_MASKED ? act_cnhw(put->room, din->n, din->c, din->h, din->w)
                                    : *din;
}

/* Both gradients of a convolution with strides, by one team of threads. */
static real strided_backward(const WeightSum *sum, const Transpose *t, int threads) {
  size_t pieces = weight_sum_pieces(sum), joins = weight_sum_joins(sum);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < pieces + t->pieces; i++)
      if (i < pieces)
        weight_sum_piece(sum, i);
      else
        conv_transpose_piece(t, i - pieces);
    if (joins > 0) {
#pragma omp barrier
#pragma omp for schedule(static) nowait
      for (size_t i = 0; i < joins; i++) weight_sum_join(sum, i);
    }
  }
  return weight_sum_largest(sum);
}

static bool transposes(const ConvGeometry *g, const Act *dout) {
  return !pointwise(g) && !conv_few_pays(g, dout) && !same_stride1(g);
}

real conv_backward_put(const Act *in, const real *weight, const ConvGeometry *g,
                       const Act *dout, const Act *din, const Put *put, real *dweight,
                       real weight_beta, real *dbias, real bias_beta, real *scratch,
                       int threads) {
  if (by_winograd(g, in, dout->c)) {
    Filters f = {weight, in->c * 9, 9, false};
    FiltersTarget target = {dweight, dbias, weight_beta, bias_beta};
    return conv_winograd_backward(g->precision, in, f, dout, target, din, put, scratch,
                                  threads);
  }
  GradientTarget to = {dweight, kernel_size(g, in->c), dbias, weight_beta, bias_beta};
  Act result = din != NULL ? unput(put, din) : (Act){0};
  real largest;
  if (narrows(g, in->c, dout->c)) {
    narrow_gradient(in, g, dout, to, scratch, threads);
    largest = largest_by_threads(dweight, dout->c, kernel_size(g, in->c), threads);
    if (din != NULL) input_gradient(weight, g, dout, &result, scratch, threads);
  } else {
    WeightSum sum = weight_sum(in, g, dout, to, scratch, threads);
    real *rest = scratch + round_up(sum.total);
    if (din != NULL && transposes(g, dout)) {
      Transpose t = conv_transpose_plan(weight, g, dout, &result, rest, threads);
      largest = strided_backward(&sum, &t, threads);
    } else {
      largest = weight_sum_all(&sum, threads);
      if (din != NULL) input_gradient(weight, g, dout, &result, rest, threads);
    }
  }
  if (din != NULL) put_all(put, &result, din, threads);
  return largest;
}

real conv_backward(const Act *in, const real *weight, const ConvGeometry *g,
                   const Act *dout, const Act *din, real *dweight, real weight_beta,
                   real *dbias, real bias_beta, const real *cols, real *scratch,
                   int threads) {
  if (cols == NULL)
    return conv_backward_put(in, weight, g, dout, din, &plainly, dweight, weight_beta,
                             dbias, bias_beta, scratch, threads);
  Act view = columns_act(in, g, dout, cols);
  ConvGeometry one = one_by_one(g);
  GradientTarget to = {dweight, kernel_size(g, in->c), dbias, weight_beta, bias_beta};
  WeightSum sum = weight_sum(&view, &one, dout, to, scratch, threads);
  real largest = weight_sum_all(&sum, threads);
  if (din != NULL) input_gradient(weight, g, dout, din, scratch, threads);
  return largest;
}

#include "flow/invconv.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "math/gemm.h"
#include "math/lu.h"

/* Pixels that one piece of work multiplies. */
#define PIXEL_BLOCK 1024

size_t invconv_factor_scratch(size_t c) {
  return 2 * c * c + (c * sizeof(size_t) + sizeof(double) - 1) / sizeof(double);
}

static void factor_one(const real *w, size_t c, double *logabsdet, real *inverse,
                       double *rcond, double *scratch) {
  double *a = scratch, *inv = scratch + c * c;
  size_t *pivot = (size_t *)(void *)(scratch + 2 * c * c);
  for (size_t i = 0; i < c * c; i++) a[i] = (double)w[i];
  double norm = rcond ? matrix_norm1(a, c) : 0;
  *logabsdet = lu_factor(a, pivot, c);
  if (inverse == NULL && rcond == NULL) return;
  lu_inverse(a, pivot, c, inv);
  if (rcond) *rcond = isfinite(*logabsdet) ? 1 / (norm * matrix_norm1(inv, c)) : 0;
  if (inverse)
    for (size_t i = 0; i < c * c; i++) inverse[i] = (real)inv[i];
}

void invconv_factor(const InvConvMatrices *m, size_t c, double *logabsdet, real *inverse,
                    double *rcond, double *scratch, int threads) {
  size_t stride = invconv_factor_scratch(c);
#pragma omp parallel for schedule(static) num_threads(threads) if (m->count > 1)
  for (size_t i = 0; i < m->count; i++)
    factor_one(m->w + i * m->step, c, logabsdet + i, inverse ? inverse + i * c * c : NULL,
               rcond ? rcond + i : NULL,
               scratch + (size_t)omp_get_thread_num() * stride);
}

void invconv_apply(const Act *in, const InvConvMatrices *m, bool transposed,
                   const Act *out, int threads) {
  size_t c = in->c, hw = in->h * in->w, blocks = (hw + PIXEL_BLOCK - 1) / PIXEL_BLOCK;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < in->n; n++)
    for (size_t b = 0; b < blocks; b++) {
      size_t at = b * PIXEL_BLOCK, count = hw - at < PIXEL_BLOCK ? hw - at : PIXEL_BLOCK;
      gemm(transposed ? TRANS : NO_TRANS, NO_TRANS, c, count, c,
           m->w + n / m->repeat * m->step, c, act_plane(in, n, 0) + at, in->cs, NULL,
           act_plane(out, n, 0) + at, out->cs);
    }
}

void invconv_weight_gradient(const Act *y, const Act *dz, const real *dlogdet,
                             const InvConvMatrices *inverse, real *dw, int threads) {
  size_t c = y->c, hw = y->h * y->w;
#pragma omp parallel for schedule(static) num_threads(threads) if (y->n > 1)
  for (size_t n = 0; n < y->n; n++) {
    const real *inv = inverse->w + n * inverse->step;
    real *d = dw + n * c * c, g = dlogdet[n] * (real)hw;
    for (size_t i = 0; i < c; i++)
      for (size_t j = 0; j < c; j++) d[i * c + j] = g * inv[j * c + i];
    gemm(NO_TRANS, TRANS, c, c, hw, act_plane(dz, n, 0), dz->cs, act_plane(y, n, 0), y->cs,
         d, d, c);
  }
}

#include "flow/actnorm.h"

#include <math.h>

#include "base/threads.h"
#include "base/vmath.h"
#include "math/elementwise.h"

CLONES static void plane_forward(const real *y, real *z, size_t n, real b, real e) {
  for (size_t i = 0; i < n; i++) z[i] = (y[i] + b) * e;
}

/* Division, not multiplication by exp(−s), undoes the product above best. */
CLONES static void plane_inverse(const real *z, real *y, size_t n, real b, real e) {
  for (size_t i = 0; i < n; i++) y[i] = z[i] / e - b;
}

CLONES static void plane_backward(const real *restrict z, const real *restrict dz,
                                  real *restrict dy, size_t n, real e, double *sum,
                                  double *dot) {
  double s = 0, d = 0;
#pragma omp simd reduction(+ : s, d)
  for (size_t i = 0; i < n; i++) {
    s += (double)dz[i];
    d += (double)dz[i] * (double)z[i];
    dy[i] = dz[i] * e;
  }
  *sum = s;
  *dot = d;
}

static inline const real *row(const real *base, const ActNormRows *r, size_t n) {
  return base + n / r->repeat * r->step;
}

void actnorm_forward(const Act *y, const ActNormRows *rows, const Act *z, double *logdet,
                     int threads) {
  size_t hw = y->h * y->w;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < y->n; n++)
    for (size_t c = 0; c < y->c; c++)
      plane_forward(act_plane(y, n, c), act_plane(z, n, c), hw, row(rows->b, rows, n)[c],
                    v_exp(row(rows->s, rows, n)[c]));
  for (size_t n = 0; n < y->n; n++) {
    double sum = 0;
    for (size_t c = 0; c < y->c; c++) sum += (double)row(rows->s, rows, n)[c];
    logdet[n] = sum * (double)hw;
  }
}

void actnorm_inverse(const Act *z, const ActNormRows *rows, const Act *y, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < z->n; n++)
    for (size_t c = 0; c < z->c; c++)
      plane_inverse(act_plane(z, n, c), act_plane(y, n, c), z->h * z->w,
                    row(rows->b, rows, n)[c], v_exp(row(rows->s, rows, n)[c]));
}

void actnorm_backward(const Act *z, const ActNormRows *rows, const Act *dz,
                      const real *dlogdet, const Act *dy, real *ds, real *db,
                      int threads) {
  size_t hw = z->h * z->w;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < z->n; n++)
    for (size_t c = 0; c < z->c; c++) {
      real e = v_exp(row(rows->s, rows, n)[c]);
      double sum, dot;
      plane_backward(act_plane(z, n, c), act_plane(dz, n, c), act_plane(dy, n, c), hw, e,
                     &sum, &dot);
      db[n * z->c + c] = (real)(sum * (double)e);
      ds[n * z->c + c] = (real)(dot + (double)dlogdet[n] * (double)hw);
    }
}

void actnorm_start(const Act *y, real *bias, real *logs) {
  size_t hw = y->h * y->w;
  for (size_t c = 0; c < y->c; c++) {
    double sum = 0, squares = 0, count = (double)act_pixels(y);
    for (size_t n = 0; n < y->n; n++) sum += reduce_sum(act_plane(y, n, c), hw);
    for (size_t n = 0; n < y->n; n++)
      squares += reduce_squares(act_plane(y, n, c), sum / count, hw);
    double deviation = sqrt(squares / count);
    bias[c] = (real)(-sum / count);
    logs[c] = (real)-log(deviation > 1e-3 ? deviation : 1e-3);
  }
}

/* Gradients: dense, or kept as the factors of an outer product. */
#include "optim/param.h"

#include <math.h>
#include <string.h>

bool param_may_be_pending(const Param *p, size_t n, bool outer) {
  return outer && n <= PARAM_MAX_PENDING && p->pending == 0 && !p->exposed;
}

bool param_ready(const Param *p, size_t n, bool outer) {
  if (p->exposed)
    return false; /* param_prepare asks first whether Lua still holds grad */
  if (param_may_be_pending(p, n, outer))
    return p->pending_room >= n && (p->dense || !p->lent);
  return p->grad != NULL && !p->lent && p->pending == 0;
}

real *param_accumulate(Param *p, real *beta) {
  *beta = p->dense ? 1 : 0;
  p->dense = true;
  p->largest = (real)HUGE_VAL;
  return p->grad;
}

#define BLOCK ((size_t)1024) /* numbers of the gradient that are formed at a time */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Sum up `count` numbers of rows, `stride` apart. */
CLONES static void add_rows(const real *rows, size_t stride, size_t n, size_t count,
                            real beta, real *restrict g) {
  double sum[BLOCK];
  for (size_t j = 0; j < count; j++) sum[j] = (double)rows[j];
  for (size_t i = 1; i < n; i++)
    for (size_t j = 0; j < count; j++) sum[j] += (double)rows[i * stride + j];
  for (size_t j = 0; j < count; j++) g[j] = (beta == 0 ? 0 : g[j]) + (real)sum[j];
}

void param_add_rows(Param *p, const real *rows, size_t n) {
  real beta;
  real *g = param_accumulate(p, &beta);
  for (size_t at = 0; at < p->count; at += BLOCK)
    add_rows(rows + at, p->count, n, least(p->count - at, BLOCK), beta, g + at);
}

void param_set_pending(Param *p, size_t n, const real *u, const real *v) {
  memcpy(p->u, u, n * p->rows * sizeof *u);
  memcpy(p->v, v, n * p->cols * sizeof *v);
  p->pending = n;
}

/* out = Σ_s u[s·rows]·v[s·cols + …], plus what is there when add is set. */
CLONES static void outer_span(const real *u, size_t rows, const real *v, size_t cols,
                              size_t samples, bool add, real *restrict out, size_t n) {
  if (samples == 0 && !add) memset(out, 0, n * sizeof *out);
  for (size_t s = 0; s < samples; s += 2, u += 2 * rows, v += 2 * cols, add = true) {
    bool pair = samples - s > 1;
    real a = u[0], b = pair ? u[rows] : 0;
    const real *w = pair ? v + cols : v;
    if (add)
      for (size_t j = 0; j < n; j++) out[j] = (out[j] + a * v[j]) + b * w[j];
    else
      for (size_t j = 0; j < n; j++) out[j] = a * v[j] + b * w[j];
  }
}

const real *param_gradient(const Param *p, size_t at, size_t n, real *buf) {
  if (p->pending == 0 && p->dense) return p->grad + at;
  if (p->dense) memcpy(buf, p->grad + at, n * sizeof *buf);
  outer_span(p->u + at / p->cols, p->rows, p->v + at % p->cols, p->cols, p->pending,
             p->dense, buf, n);
  return buf;
}

const real *param_outer(const Param *p, size_t samples, size_t at, size_t n, real *buf) {
  outer_span(p->u + at / p->cols, p->rows, p->v + at % p->cols, p->cols, samples, false,
             buf, n);
  return buf;
}

void param_materialise(Param *p) {
  if (p->pending == 0) {
    if (!p->dense) memset(p->grad, 0, p->count * sizeof *p->grad);
  } else {
    for (size_t r = 0; r < p->rows; r++)
      outer_span(p->u + r, p->rows, p->v, p->cols, p->pending, p->dense,
                 p->grad + r * p->cols, p->cols);
  }
  p->dense = true;
  p->largest = (real)HUGE_VAL;
  p->pending = 0;
}

size_t param_gradient_zeros(const Param *p) {
  if (p->pending == 0 && !p->dense) return p->count;
  real buf[BLOCK];
  size_t zeros = 0;
  for (size_t at = 0, n; at < p->count; at += n) {
    n = least(BLOCK, p->cols - at % p->cols);
    const real *g = param_gradient(p, at, n, buf);
    for (size_t j = 0; j < n; j++) zeros += g[j] == 0;
  }
  return zeros;
}

void param_copy_gradient(const Param *p, real *out) {
  if (p->pending == 0 && !p->dense) {
    memset(out, 0, p->count * sizeof *out);
    return;
  }
  for (size_t at = 0; at < p->count; at += p->cols) {
    const real *row = param_gradient(p, at, p->cols, out + at);
    if (row != out + at) memcpy(out + at, row, p->cols * sizeof *out);
  }
}

void param_zero_grad(Param *p) {
  p->pending = 0;
  p->dense = p->exposed;
  p->largest = (real)HUGE_VAL;
  if (p->exposed) memset(p->grad, 0, p->count * sizeof *p->grad);
}

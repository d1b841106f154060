/* Actnorm: each channel moved and scaled. */
#include "flow/actnorm.h"

#include <math.h>
#include <stdio.h>

#include "base/threads.h"
#include "base/vmath.h"
#include "math/elementwise.h"

/* A row of C numbers s and one b for each sample, `step` numbers from one sample to the
 * next (0: one row for all); one row serves `repeat` samples in turn. */
typedef struct Rows {
  const real *s, *b;
  size_t step, repeat;
} Rows;

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

static inline const real *row(const real *base, const Rows *r, size_t n) {
  return base + n / r->repeat * r->step;
}

static void rows_forward(const Act *y, const Rows *rows, const Act *z, double *logdet,
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

static void rows_inverse(const Act *z, const Rows *rows, const Act *y, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < z->n; n++)
    for (size_t c = 0; c < z->c; c++)
      plane_inverse(act_plane(z, n, c), act_plane(y, n, c), z->h * z->w,
                    row(rows->b, rows, n)[c], v_exp(row(rows->s, rows, n)[c]));
}

static void rows_backward(const Act *z, const Rows *rows, const Act *dz,
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

void actnorm_start(const ActNorm *a, const Act *y) {
  real *bias = a->bias->value, *logs = a->logs->value;
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

static FlowShape condition(const Flow *f, const Act *y) {
  (void)y;
  if (!((const ActNorm *)f)->conditional) return flow_no_shape();
  return (FlowShape){2, 0, {0, 2 * f->channels}};
}

/* Saved is tanh of the condition, kept for backward. */
static size_t saved(const Flow *f, const FlowRun *r) {
  return ((const ActNorm *)f)->conditional ? r->rows * 2 * f->channels : 0;
}

static size_t scratch(const Flow *f, const FlowRun *r, FlowPass pass) {
  return pass == PASS_BACKWARD ? 2 * r->y.n * f->channels : 0;
}

static Rows rows_of(const Flow *f, const FlowRun *r) {
  const ActNorm *a = (const ActNorm *)f;
  if (!a->conditional) return (Rows){a->logs->value, a->bias->value, 0, 1};
  return (Rows){r->saved, r->saved + f->channels, 2 * f->channels, r->repeat};
}

static void save_rows(const Flow *f, const FlowRun *r) {
  if (r->cond != NULL) unary_tanh(r->saved, r->cond, saved(f, r));
}

static void forward(Flow *f, const FlowRun *r) {
  save_rows(f, r);
  Rows rows = rows_of(f, r);
  rows_forward(&r->y, &rows, &r->z, r->logdet, r->threads);
}

static size_t inverse(Flow *f, const FlowRun *r) {
  save_rows(f, r);
  Rows rows = rows_of(f, r);
  rows_inverse(&r->z, &rows, &r->y, r->threads);
  return 0;
}

/* The gradient of the condition, through tanh, from that of (s, b). */
static void to_condition(const Rows *rows, const real *ds, const real *db, real *out,
                         size_t n, size_t channels) {
  for (size_t i = 0; i < n; i++, out += channels)
    for (size_t c = 0; c < channels; c++, out++) {
      real s = rows->s[i * rows->step + c], b = rows->b[i * rows->step + c];
      out[0] = ds[i * channels + c] * (1 - s * s);
      out[channels] = db[i * channels + c] * (1 - b * b);
    }
}

static void backward(Flow *f, const FlowRun *r) {
  const ActNorm *a = (const ActNorm *)f;
  Rows rows = rows_of(f, r);
  real *ds = r->scratch, *db = ds + r->z.n * f->channels;
  rows_backward(&r->z, &rows, &r->dz, r->dlogdet, &r->dy, ds, db, r->threads);
  if (r->dcond != NULL) {
    to_condition(&rows, ds, db, r->dcond, r->z.n, f->channels);
    return;
  }
  param_add_rows(a->logs, ds, r->z.n);
  param_add_rows(a->bias, db, r->z.n);
}

static void describe(const Flow *f, char *text) {
  snprintf(text, FLOW_WHY, " of %zu channels, %s", f->channels,
           ((const ActNorm *)f)->conditional ? "conditional" : "unconditional");
}

const FlowOps flow_actnorm = {.kind = "ActNorm",
                              .condition = condition,
                              .saved = saved,
                              .scratch = scratch,
                              .forward = forward,
                              .inverse = inverse,
                              .backward = backward,
                              .describe = describe};

/* The 1×1 convolution: a matrix for each sample, or one for all. */
#include "flow/invconv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "base/threads.h"
#include "math/elementwise.h"
#include "math/gemm.h"
#include "math/lu.h"

typedef struct Matrices {
  const real *w;
  size_t count;        /* of matrices */
  size_t step, repeat; /* numbers from one to the next; samples for each */
} Matrices;

/* Pixels that one piece of work multiplies. */
#define PIXEL_BLOCK 256

/* Doubles of scratch for each thread of factor. */
static size_t factor_scratch(size_t c) {
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

/* What is to be found of every matrix: log|det W| (−inf when singular), unless NULL its
 * inverse, and unless NULL its reciprocal condition number in the 1-norm. */
typedef struct Factors {
  double *logabsdet, *rcond;
  real *inverse;
  double *scratch;
} Factors;

static void factor_at(const Matrices *m, size_t c, const Factors *f, size_t i) {
  factor_one(m->w + i * m->step, c, f->logabsdet + i,
             f->inverse ? f->inverse + i * c * c : NULL, f->rcond ? f->rcond + i : NULL,
             f->scratch + (size_t)omp_get_thread_num() * factor_scratch(c));
}

static void factor(const Matrices *m, size_t c, const Factors *f, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (m->count > 1)
  for (size_t i = 0; i < m->count; i++) factor_at(m, c, f, i);
}

/* out = W in, or out = Wᵀ in, cut into runs of pixels. */
typedef struct Apply {
  const Act *in, *out;
  const Matrices *m;
  bool transposed;
  size_t block, blocks; /* pixels of a run, runs of a sample */
} Apply;

static Apply apply_of(const Act *in, const Matrices *m, bool transposed, const Act *out,
                      int threads) {
  size_t hw = in->h * in->w, block = PIXEL_BLOCK;
  while (block > PANEL && in->n * ((hw + block - 1) / block) < 2 * (size_t)threads)
    block /= 2;
  return (Apply){in, out, m, transposed, block, (hw + block - 1) / block};
}

static size_t apply_pieces(const Apply *a) { return a->in->n * a->blocks; }

static void apply_piece(const Apply *a, size_t i) {
  const Act *in = a->in, *out = a->out;
  size_t c = in->c, n = i / a->blocks, at = i % a->blocks * a->block;
  size_t left = in->h * in->w - at;
  gemm(PRECISION_FP32, a->transposed ? TRANS : NO_TRANS, NO_TRANS, c,
       left < a->block ? left : a->block, c, a->m->w + n / a->m->repeat * a->m->step, c,
       act_plane(in, n, 0) + at, in->cs, NULL, act_plane(out, n, 0) + at, out->cs);
}

static void apply(const Apply *a, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < apply_pieces(a); i++) apply_piece(a, i);
}

/* dw[n] = dz[n]·y[n]ᵀ + dlogdet[n]·H·W·W⁻ᵀ for each sample, by so many rows and columns.
 */
typedef struct WeightGradient {
  const Act *y, *dz;
  const real *dlogdet;
  const Matrices *inverse;
  real *dw;
  size_t rows;
} WeightGradient;

#define MOST_ROWS ((size_t)16)
#define FEWEST_ROWS ((size_t)4)

static size_t column_parts(size_t c) { return (c + PANEL - 1) / PANEL; }

/* Rows of a piece: fewer where threads would have nothing to do. */
static size_t gradient_rows(size_t samples, size_t c, int threads) {
  size_t rows = MOST_ROWS;
  while (rows > FEWEST_ROWS &&
         samples * column_parts(c) * ((c + rows - 1) / rows) < (size_t)threads)
    rows /= 2;
  return rows;
}

static size_t row_parts(const WeightGradient *g) {
  return (g->y->c + g->rows - 1) / g->rows;
}

static size_t gradient_pieces(const WeightGradient *g) {
  return g->y->n * row_parts(g) * column_parts(g->y->c);
}

static void gradient_piece(const WeightGradient *g, size_t at) {
  const Act *y = g->y, *dz = g->dz;
  size_t c = y->c, n = at % y->n, row = at / y->n % row_parts(g) * g->rows;
  size_t col = at / y->n / row_parts(g) * PANEL, cols = panel_columns(c - col, 0);
  size_t rows = min_size(c - row, g->rows);
  const real *inv = g->inverse->w + n * g->inverse->step;
  real *d = g->dw + n * c * c + row * c + col, f = g->dlogdet[n] * (real)(y->h * y->w);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < cols; j++) d[i * c + j] = f * inv[(col + j) * c + row + i];
  gemm(PRECISION_FP32, NO_TRANS, TRANS, rows, cols, y->h * y->w, act_plane(dz, n, row),
       dz->cs, act_plane(y, n, col), y->cs, d, d, c);
}

static const InvConv *self(const Flow *f) { return (const InvConv *)f; }

static size_t square(const Flow *f) { return f->channels * f->channels; }

static FlowShape condition(const Flow *f, const Act *y) {
  (void)y;
  return self(f)->conditional ? (FlowShape){2, 0, {0, square(f)}} : flow_no_shape();
}

static FlowShape prepared(const Flow *f, const Act *y) {
  (void)y;
  return (FlowShape){3, 0, {0, f->channels, f->channels}};
}

/* Saved is W = tanh of the condition, kept for backward. */
static size_t saved(const Flow *f, const FlowRun *r) {
  return self(f)->conditional ? r->rows * square(f) : 0;
}

/* Hidden is the inverse of each W of a condition, kept for backward. */
static size_t hidden(const Flow *f, const FlowRun *r) {
  return self(f)->conditional ? r->rows * square(f) : 0;
}

/* Reals that hold n doubles. */
static size_t doubles(size_t n) { return round_up(n * (sizeof(double) / sizeof(real))); }

/* log|det W| of each, rcond of each, what each thread wants to factorise. */
static size_t factor_reals(const Flow *f, const FlowRun *r) {
  return doubles(2 * r->rows + factor_scratch(f->channels) * (size_t)r->threads);
}

static size_t scratch(const Flow *f, const FlowRun *r, FlowPass pass) {
  if (pass == PASS_BACKWARD) return r->y.n * square(f);
  return factor_reals(f, r) + (pass == PASS_INVERSE ? r->rows * square(f) : 0);
}

static Matrices matrices(const Flow *f, const FlowRun *r, const real *numbers) {
  return (Matrices){numbers, r->rows, self(f)->conditional ? square(f) : 0, r->repeat};
}

static Matrices w_of(const Flow *f, const FlowRun *r) {
  return matrices(f, r, self(f)->conditional ? r->saved : self(f)->weight->value);
}

/* What is to be found of every W, which is made of its condition first. */
static Factors begin_factors(const Flow *f, const FlowRun *r, real *inverse,
                             double *rcond) {
  if (r->cond != NULL) unary_tanh(r->saved, r->cond, saved(f, r));
  double *logabsdet = (double *)(void *)r->scratch;
  return (Factors){logabsdet, rcond, inverse, logabsdet + 2 * r->rows};
}

/* W of a condition, factorised; returns log|det W| of each. */
static const double *factorise(const Flow *f, const FlowRun *r, real *inverse,
                               double *rcond) {
  Factors found = begin_factors(f, r, inverse, rcond);
  Matrices m = w_of(f, r);
  factor(&m, f->channels, &found, r->threads);
  return found.logabsdet;
}

/* ---- the factors of a weight, which stay as long as it does ---- */

static bool factors_known(const InvConv *v) {
  return v->factors.known &&
         memcmp(v->factors.w, v->weight->value, square(&v->flow) * sizeof(real)) == 0;
}

static void find_factors(InvConv *v, double *scratch) {
  KnownFactors *k = &v->factors;
  memcpy(k->w, v->weight->value, square(&v->flow) * sizeof(real));
  factor_one(k->w, v->flow.channels, &k->logabsdet, k->inverse, NULL, scratch);
  k->known = true;
}

size_t invconv_factorise_scratch(size_t c, int threads) {
  return doubles(factor_scratch(c) * (size_t)threads);
}

/* The last ones, which have most channels in a model, come first. */
void invconv_factorise(InvConv *const *layers, size_t count, real *scratch, int threads) {
  size_t most = 0;
  for (size_t i = 0; i < count; i++) most = max_size(most, layers[i]->flow.channels);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (size_t i = 0; i < count; i++) {
    InvConv *v = layers[count - 1 - i];
    size_t own = (size_t)omp_get_thread_num() * factor_scratch(most);
    if (!factors_known(v)) find_factors(v, (double *)(void *)scratch + own);
  }
}

/* ---- passes ---- */

static void set_logdet(const FlowRun *r, const double *logabsdet, size_t repeat) {
  double pixels = (double)(r->y.h * r->y.w);
  for (size_t n = 0; n < r->y.n; n++) r->logdet[n] = logabsdet[n / repeat] * pixels;
}

/* Factors, which take longest and which nobody waits for, come first. */
static void forward_of_condition(Flow *f, const FlowRun *r) {
  Factors found = begin_factors(f, r, r->hidden, NULL);
  Matrices m = w_of(f, r);
  Apply a = apply_of(&r->y, &m, false, &r->z, r->threads);
#pragma omp parallel for schedule(dynamic) num_threads(r->threads)
  for (size_t i = 0; i < m.count + apply_pieces(&a); i++)
    if (i < m.count)
      factor_at(&m, f->channels, &found, i);
    else
      apply_piece(&a, i - m.count);
  set_logdet(r, found.logabsdet, r->repeat);
}

static void forward(Flow *f, const FlowRun *r) {
  InvConv *v = (InvConv *)f;
  if (v->conditional) {
    forward_of_condition(f, r);
    return;
  }
  bool known = factors_known(v);
  Matrices m = w_of(f, r);
  Apply a = apply_of(&r->y, &m, false, &r->z, r->threads);
  if (known) {
    apply(&a, r->threads);
  } else {
#pragma omp parallel for schedule(dynamic) num_threads(r->threads)
    for (size_t i = 0; i <= apply_pieces(&a); i++)
      if (i == 0)
        find_factors(v, (double *)(void *)r->scratch);
      else
        apply_piece(&a, i - 1);
  }
  set_logdet(r, &v->factors.logabsdet, r->y.n);
}

/* The inverse of every W, or the number of the first that has none. */
static size_t invert(const Flow *f, const FlowRun *r, real *inverse) {
  const InvConv *v = self(f);
  if (!v->conditional && factors_known(v)) {
    memcpy(inverse, v->factors.inverse, square(f) * sizeof *inverse);
    return isfinite(v->factors.logabsdet) ? 0 : 1;
  }
  const double *logabsdet = factorise(f, r, inverse, NULL);
  for (size_t i = 0; i < r->rows; i++)
    if (!isfinite(logabsdet[i])) return i + 1;
  return 0;
}

static size_t prepare(Flow *f, const FlowRun *r) { return invert(f, r, r->prepared); }

static size_t inverse(Flow *f, const FlowRun *r) {
  real *inverses = r->prepared;
  if (inverses == NULL) {
    inverses = r->scratch + factor_reals(f, r);
    size_t bad = invert(f, r, inverses);
    if (bad > 0) return bad;
  }
  Matrices m = matrices(f, r, inverses);
  Apply a = apply_of(&r->z, &m, false, &r->y, r->threads);
  apply(&a, r->threads);
  return 0;
}

static void backward(Flow *f, const FlowRun *r) {
  const InvConv *v = self(f);
  Matrices m = w_of(f, r),
           inverses = matrices(f, r, v->conditional ? r->hidden : v->factors.inverse);
  size_t n = r->y.n;
  real *dw = r->scratch;
  Apply a = apply_of(&r->dz, &m, true, &r->dy, r->threads);
  WeightGradient g = {&r->y,     &r->dz, r->dlogdet,
                      &inverses, dw,     gradient_rows(n, r->y.c, r->threads)};
#pragma omp parallel for schedule(dynamic) num_threads(r->threads)
  for (size_t i = 0; i < gradient_pieces(&g) + apply_pieces(&a); i++)
    if (i < gradient_pieces(&g))
      gradient_piece(&g, i);
    else
      apply_piece(&a, i - gradient_pieces(&g));
  if (r->dcond == NULL)
    param_add_rows(v->weight, dw, n);
  else
    for (size_t i = 0; i < n * square(f); i++)
      r->dcond[i] = dw[i] * (1 - m.w[i] * m.w[i]);
}

void invconv_diagnose(const InvConv *v, const FlowRun *r) {
  const double *logabsdet = factorise(&v->flow, r, NULL, r->logdet + r->rows);
  memcpy(r->logdet, logabsdet, r->rows * sizeof *logabsdet);
}

static void describe(const Flow *f, char *text) {
  snprintf(text, FLOW_WHY, " of %zu channels, %s", f->channels,
           self(f)->conditional ? "conditional" : "unconditional");
}

const FlowOps flow_invconv = {
    .kind = "InvConv",
    .condition = condition,
    .prepared = prepared,
    .saved = saved,
    .hidden = hidden,
    .scratch = scratch,
    .forward = forward,
    .inverse = inverse,
    .prepare = prepare,
    .backward = backward,
    .no_inverse = "invconv: W of sample %d is singular or not finite, it has no inverse",
    .reads_y = true,
    .describe = describe};

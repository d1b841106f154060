/* Adam and SGD, piece by piece of all parameters. */
#include "optim/optim.h"

#include <math.h>

#include "base/threads.h"
#include "math/elementwise.h"
#include "optim/deferred.h"

/* A piece of work: numbers first .. first+n-1 of a slot's parameter. */
typedef struct Piece {
  size_t slot, chunk, first, n;
} Piece;

static inline size_t slot_chunks(const OptimSlot *s) {
  return (s->param->count + OPTIM_CHUNK - 1) / OPTIM_CHUNK;
}

size_t optim_layout(OptimSlot *slots, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++) {
    slots[i].first_chunk = total;
    total += slot_chunks(slots + i);
  }
  return total;
}

static size_t chunks_of(const OptimSlot *slots, size_t count) {
  return count == 0 ? 0 : slots[count - 1].first_chunk + slot_chunks(slots + count - 1);
}

static Piece piece_at(const OptimSlot *slots, size_t count, size_t chunk) {
  size_t lo = 0, hi = count; /* the slot lies in lo .. hi-1 */
  while (hi - lo > 1) {
    size_t mid = lo + (hi - lo) / 2;
    if (slots[mid].first_chunk <= chunk)
      lo = mid;
    else
      hi = mid;
  }
  size_t first = (chunk - slots[lo].first_chunk) * OPTIM_CHUNK;
  size_t left = slots[lo].param->count - first;
  return (Piece){lo, chunk, first, left < OPTIM_CHUNK ? left : OPTIM_CHUNK};
}

typedef void (*PieceFunction)(const OptimSlot *s, const Piece *p, void *context,
                              real *buf);

static void for_each_piece(const OptimSlot *slots, size_t count, PieceFunction f,
                           void *context, real *scratch, int threads) {
  size_t chunks = chunks_of(slots, count);
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
  for (size_t i = 0; i < chunks; i++) {
    Piece p = piece_at(slots, count, i);
    f(slots + p.slot, &p, context,
      scratch + (size_t)omp_get_thread_num() * OPTIM_SCRATCH);
  }
}

/* How far the gradient can be had in one go from number `at` on. */
static inline size_t span(const Param *p, size_t at, size_t left) {
  if (p->pending == 0 && p->dense) return left;
  size_t n = p->cols - at % p->cols;
  if (n > OPTIM_SCRATCH) n = OPTIM_SCRATCH;
  return n < left ? n : left;
}

CLONES static double square_sum(const real *g, size_t n, real limit) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) {
    real v = g[i];
    v = v > limit ? limit : v;
    v = v < -limit ? -limit : v;
    /* Infinite gradients must show although clipping would hide them. */
    sum += (double)v * (double)v + (double)(g[i] - g[i]);
  }
  return sum;
}

typedef struct SquareSums {
  real limit;
  double *sums;
} SquareSums;

static void square_piece(const OptimSlot *s, const Piece *p, void *context, real *buf) {
  const SquareSums *c = context;
  double sum = 0;
  for (size_t at = p->first, end = p->first + p->n, n; at < end; at += n) {
    n = span(s->param, at, end - at);
    sum += square_sum(param_gradient(s->param, at, n, buf), n, c->limit);
  }
  c->sums[p->chunk] = sum;
}

double optim_square_norm(const OptimSlot *slots, size_t count, double clip, size_t *bad,
                         double *sums, real *scratch, int threads) {
  SquareSums context = {clip > 0 ? (real)clip : (real)HUGE_VAL, sums};
  for_each_piece(slots, count, square_piece, &context, scratch, threads);
  double total = 0;
  *bad = count;
  for (size_t i = 0, at = 0; i < count; i++)
    for (size_t k = slot_chunks(slots + i); k > 0; k--, at++) {
      total += sums[at];
      if (*bad == count && !isfinite(sums[at])) *bad = i;
    }
  return total;
}

/* Are the factors of a pending gradient so small that no number of it can come near
 * OPTIM_GRADIENT_MAX? */
static bool factors_safe(const Param *p) {
  real u = largest_magnitude(p->u, 1, p->pending * p->rows, 0);
  real v = largest_magnitude(p->v, 1, p->pending * p->cols, 0);
  return (real)2 * u * v * (real)p->pending <= (real)OPTIM_GRADIENT_MAX;
}

typedef struct BadChunks {
  real most;
  bool *found;
} BadChunks;

static inline bool acceptable(real largest, real most) {
  return largest < (real)HUGE_VAL && largest <= most;
}

/* Is the dense gradient known to be acceptable?  Lua may have changed what it holds since
 * `largest` was found. */
static bool judged(const Param *p, real most) {
  return !p->dense || (!p->exposed && acceptable(p->largest, most));
}

static void finite_piece(const OptimSlot *s, const Piece *p, void *context, real *buf) {
  const BadChunks *c = context;
  const Param *param = s->param;
  bool pending = param->pending > 0 && !param->dense;
  c->found[p->chunk] = false;
  /* Factors are judged once, with the first piece, which then stands for all. */
  if (pending && (p->first > 0 || factors_safe(param))) return;
  if (param->pending == 0 && judged(param, c->most)) return;
  size_t end = pending ? param->count : p->first + p->n;
  for (size_t at = p->first, n; at < end; at += n) {
    n = span(param, at, end - at);
    if (!acceptable(largest_magnitude(param_gradient(param, at, n, buf), 1, n, 0),
                    c->most))
      c->found[p->chunk] = true;
  }
}

size_t optim_first_bad(const OptimSlot *slots, size_t count, double most, bool *found,
                       real *scratch, int threads) {
  BadChunks context = {(real)most, found};
  for_each_piece(slots, count, finite_piece, &context, scratch, threads);
  for (size_t i = 0, at = 0; i < count; i++)
    for (size_t k = slot_chunks(slots + i); k > 0; k--, at++)
      if (found[at]) return i;
  return count;
}

/* The factors for one slot.  In `all`, `keep` is what a decay of 1 takes off. */
static AdamFactors slot_factors(const OptimSlot *s, const AdamFactors *all) {
  AdamFactors f = *all;
  f.step = (real)((double)f.step * s->scale);
  f.keep = (real)(1 - (double)f.keep * s->scale * s->decay);
  return f;
}

static void adam_piece(const OptimSlot *s, const Piece *p, void *context, real *buf) {
  if (param_is_due(s->param)) return;
  AdamFactors f = slot_factors(s, context);
  if (s->param->pending == 0 && s->param->dense)
    adam_dense(s, p->first, p->n, &f);
  else
    adam_rows(s, p->first, p->n, &f, param_gradient, buf);
}

void optim_adam(OptimSlot *slots, size_t count, const AdamStep *step, real *scratch,
                int threads) {
  double c1 = 1 - pow(step->beta1, (double)step->t);
  double c2 = 1 - pow(step->beta2, (double)step->t);
  AdamFactors f = {
      (real)(step->lr / c1),   (real)step->beta1,
      (real)(1 - step->beta1), (real)step->beta2,
      (real)(1 - step->beta2), (real)(1 / sqrt(c2)),
      (real)step->eps,         step->clip > 0 ? (real)step->clip : (real)HUGE_VAL,
      (real)step->grad_scale,  (real)(step->lr * step->decay)};
  for (size_t i = 0; i < count; i++)
    if (param_may_defer(slots[i].param)) {
      AdamFactors own = slot_factors(slots + i, &f);
      param_defer(slots + i, &own);
    }
  for_each_piece(slots, count, adam_piece, &f, scratch, threads);
}

CLONES static void sgd_span(real *restrict p, real *restrict m, const real *restrict g,
                            size_t n, real lr, real momentum, real clip, real scale) {
  for (size_t i = 0; i < n; i++) {
    real d = g[i];
    d = d > clip ? clip : d;
    d = d < -clip ? -clip : d;
    m[i] = momentum * m[i] + d * scale;
    p[i] -= lr * m[i];
  }
}

static void sgd_piece(const OptimSlot *s, const Piece *p, void *context, real *buf) {
  const SgdStep *step = context;
  real clip = step->clip > 0 ? (real)step->clip : (real)HUGE_VAL;
  for (size_t at = p->first, end = p->first + p->n, n; at < end; at += n) {
    n = span(s->param, at, end - at);
    sgd_span(s->param->value + at, s->m + at, param_gradient(s->param, at, n, buf), n,
             (real)(step->lr * s->scale), (real)step->momentum, clip,
             (real)step->grad_scale);
  }
}

void optim_sgd(const OptimSlot *slots, size_t count, const SgdStep *step, real *scratch,
               int threads) {
  SgdStep context = *step;
  for_each_piece(slots, count, sgd_piece, &context, scratch, threads);
}

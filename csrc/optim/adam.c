/* A step of Adam on part of a parameter. */
#include "optim/adam.h"

#include <math.h>

/* Numbers that are fetched ahead, and how many at a time. */
#define AHEAD ((size_t)256)
#define ADAM_BLOCK ((size_t)64)

/* √v for v ≥ 0; for others some number or NaN.  In float a guess of 1/√v from the
 * exponent and three steps of Newton's, to 2 ulp: the processor's own takes longer than
 * memory does. */
ALWAYS_INLINE real root(real v) {
#ifdef CGLOW_DOUBLE
  return sqrt(v);
#else
  union {
    float f;
    uint32_t i;
  } guess = {v};
  guess.i = 0x5f375a86 - (guess.i >> 1);
  float y = guess.f, half = 0.5f * v;
  for (int i = 0; i < 3; i++) y *= 1.5f - half * y * y;
  return v * y;
#endif
}

ALWAYS_INLINE void adam_block(real *restrict p, real *restrict m, real *restrict v,
                              const real *restrict g, size_t n, const AdamFactors *f) {
  for (size_t i = 0; i < n; i++) {
    real d = g[i];
    d = d > f->clip ? f->clip : d;
    d = d < -f->clip ? -f->clip : d;
    d *= f->scale;
    m[i] = f->beta1 * m[i] + f->one_beta1 * d;
    v[i] = f->beta2 * v[i] + f->one_beta2 * d * d;
    p[i] = f->keep * p[i] - f->step * m[i] / (root(v[i]) * f->root2 + f->eps);
  }
}

ALWAYS_INLINE void prefetch_ahead(const real *p) {
  for (size_t i = AHEAD; i < AHEAD + ADAM_BLOCK; i += 64 / sizeof *p)
    __builtin_prefetch(p + i);
}

/* n numbers of a slot from `at` on, whose gradient is g, and, if it has one, h, as many
 * `apart` further on: two strands keep memory busier than one. */
CLONES static void adam_strands(const OptimSlot *s, size_t at, size_t apart, size_t n,
                                const real *g, const real *h, const AdamFactors *f) {
  real *p = s->param->value + at, *m = s->m + at, *v = s->v + at;
  for (size_t i = 0; i < n; i += ADAM_BLOCK) {
    size_t count = n - i < ADAM_BLOCK ? n - i : ADAM_BLOCK, strands = h == NULL ? 1 : 2;
    for (size_t strand = 0, k = i; strand < strands; strand++, k += apart) {
      const real *d = (strand == 0 ? g : h) + i;
      prefetch_ahead(p + k), prefetch_ahead(m + k), prefetch_ahead(v + k);
      if (count == ADAM_BLOCK)
        adam_block(p + k, m + k, v + k, d, ADAM_BLOCK, f);
      else
        adam_block(p + k, m + k, v + k, d, count, f);
    }
  }
}

void adam_dense(const OptimSlot *s, size_t first, size_t n, const AdamFactors *f) {
  adam_strands(s, first, 0, n, s->param->grad + first, NULL, f);
}

/* Shorter rows lie too near each other for strands. */
#define STRAND ((size_t)4096)

/* Step part of a row by its gradient, formed as it is needed; two: and the same part of
 * the row below, whose gradient is made of the same factors. */
static void adam_row(const OptimSlot *s, size_t at, size_t count, bool two,
                     const AdamFactors *f, GradientOf *gradient, real *buf) {
  size_t cols = s->param->cols, room = ADAM_SCRATCH / (two ? 2 : 1);
  for (size_t end = at + count, n; at < end; at += n) {
    n = end - at < room ? end - at : room;
    const real *g = gradient(s->param, at, n, buf), *h = NULL;
    if (two) h = gradient(s->param, at + cols, n, buf + room);
    adam_strands(s, at, cols, n, g, h, f);
  }
}

void adam_rows(const OptimSlot *s, size_t first, size_t count, const AdamFactors *f,
               GradientOf *gradient, real *buf) {
  size_t cols = s->param->cols, end = first + count;
  for (size_t at = first, n; at < end; at += n) {
    bool two = cols >= STRAND && at % cols == 0 && end - at >= 2 * cols;
    size_t row = cols - at % cols;
    n = end - at < row ? end - at : row;
    adam_row(s, at, n, two, f, gradient, buf);
    if (two) n = 2 * cols;
  }
}

/* Memory that will be read soon.
 *
 * Where arithmetic keeps the processor busy, as in products of matrices, the cache has
 * time to fetch what comes next: a product does so in each of its rounds, `step` bytes
 * from p on, at most PREFETCH_STEP, range after range. */
#ifndef CGLOW_BASE_PREFETCH_H
#define CGLOW_BASE_PREFETCH_H

#include "base/real.h"

typedef struct Range {
  const char *p;
  size_t bytes;
} Range;

#define MOST_RANGES 4
typedef struct Ranges {
  size_t count;
  Range range[MOST_RANGES];
} Ranges;

typedef struct Prefetch {
  const Range *range, *end;
  const char *p;
  size_t step;
} Prefetch;

#define PREFETCH_STEP ((size_t)64)

static inline Range range_of(const real *p, size_t count) {
  return (Range){(const char *)p, count * sizeof *p};
}

/* Prefetch `count` ranges in that many rounds, or as much of them as can be. */
static inline Prefetch prefetch_in(const Range *range, size_t count, size_t rounds) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; i++) bytes += range[i].bytes;
  size_t step = rounds > 0 ? (bytes + rounds - 1) / rounds : 0;
  return (Prefetch){range, range + count, count > 0 ? range->p : NULL,
                    step < PREFETCH_STEP ? step : PREFETCH_STEP};
}

/* All before p was fetched. */
static inline void prefetch_advance(Prefetch *f, const char *p) {
  f->p = p;
  if (f->step == 0 || p < f->range->p + f->range->bytes) return;
  if (++f->range < f->end)
    f->p = f->range->p;
  else
    f->step = 0;
}

#endif

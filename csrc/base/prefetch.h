/* Memory that will be read soon.
 *
 * Where arithmetic keeps the processor busy, as in products of matrices, the cache has
 * time to fetch what comes next: a product does so in each of its rounds, `step` bytes
 * from p on, at most FETCH_STEP, span after span. */
#ifndef CGLOW_BASE_PREFETCH_H
#define CGLOW_BASE_PREFETCH_H

#include "base/real.h"

typedef struct Span {
  const char *p;
  size_t bytes;
} Span;

#define MOST_SPANS 4
typedef struct Spans {
  size_t count;
  Span span[MOST_SPANS];
} Spans;

typedef struct Fetch {
  const Span *span, *end;
  const char *p;
  size_t step;
} Fetch;

#define FETCH_STEP ((size_t)64)

static inline Span span_of(const real *p, size_t count) {
  return (Span){(const char *)p, count * sizeof *p};
}

/* Fetch `count` spans in that many rounds, or as much of them as can be. */
static inline Fetch fetch_in(const Span *span, size_t count, size_t rounds) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; i++) bytes += span[i].bytes;
  size_t step = rounds > 0 ? (bytes + rounds - 1) / rounds : 0;
  return (Fetch){span, span + count, count > 0 ? span->p : NULL,
                 step < FETCH_STEP ? step : FETCH_STEP};
}

/* All before p was fetched. */
static inline void fetch_advance(Fetch *f, const char *p) {
  f->p = p;
  if (f->step == 0 || p < f->span->p + f->span->bytes) return;
  if (++f->span < f->end)
    f->p = f->span->p;
  else
    f->step = 0;
}

#endif

/* Averages of parameters over the steps of a training. */
#include "optim/average.h"

#include "base/threads.h"
#include "optim/deferred.h"

/* Numbers that a thread works on at a time. */
#define BLOCK ((size_t)16384)

CLONES static void move_towards(real *restrict mean, const real *restrict value, size_t n,
                                real share) {
  for (size_t i = 0; i < n; i++) mean[i] += share * (value[i] - mean[i]);
}

CLONES static void exchange(real *restrict a, real *restrict b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    real kept = a[i];
    a[i] = b[i];
    b[i] = kept;
  }
}

static inline size_t block_at(size_t first, size_t count) {
  return count - first < BLOCK ? count - first : BLOCK;
}

static void settle(const AverageSlot *slots, size_t count) {
  for (size_t i = 0; i < count; i++) param_settle(slots[i].param);
}

void average_update(const AverageSlot *slots, size_t count, double keep, int threads) {
  real share = (real)(1 - keep);
  settle(slots, count);
#pragma omp parallel num_threads(threads)
  for (size_t i = 0; i < count; i++) {
    const AverageSlot *s = slots + i;
#pragma omp for schedule(static) nowait
    for (size_t at = 0; at < s->param->count; at += BLOCK)
      move_towards(s->mean + at, s->param->value + at, block_at(at, s->param->count),
                   share);
  }
}

void average_swap(const AverageSlot *slots, size_t count, int threads) {
  settle(slots, count);
#pragma omp parallel num_threads(threads)
  for (size_t i = 0; i < count; i++) {
    const AverageSlot *s = slots + i;
#pragma omp for schedule(static) nowait
    for (size_t at = 0; at < s->param->count; at += BLOCK)
      exchange(s->mean + at, s->param->value + at, block_at(at, s->param->count));
  }
}

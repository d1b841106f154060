/* Averages of parameters over the steps of a training. */
#include "optim/average.h"

#include "base/threads.h"
#include "optim/deferred.h"

/* Numbers that a thread works on at a time. */
#define AVERAGE_BLOCK ((size_t)16384)

CLONES static void move_towards(real *restrict mean, real *restrict value, size_t n,
                                real share) {
  for (size_t i = 0; i < n; i++) mean[i] += share * (value[i] - mean[i]);
}

CLONES static void exchange(real *restrict a, real *restrict b, size_t n, real share) {
  (void)share;
  for (size_t i = 0; i < n; i++) {
    real kept = a[i];
    a[i] = b[i];
    b[i] = kept;
  }
}

typedef void Change(real *mean, real *value, size_t n, real share);

static size_t blocks_of(const AverageSlot *s) {
  return (s->param->count + AVERAGE_BLOCK - 1) / AVERAGE_BLOCK;
}

/* Change means and values, blocks of them at a time: the blocks of all parameters are
 * numbered through, so that small ones do not all fall to one thread. */
static void change_all(const AverageSlot *slots, size_t count, Change *change, real share,
                       int threads) {
  size_t blocks = 0;
  for (size_t i = 0; i < count; i++) {
    param_settle(slots[i].param);
    blocks += blocks_of(&slots[i]);
  }
#pragma omp parallel num_threads(threads)
  {
    size_t i = 0, before = 0; /* a slot, and blocks of those before it */
#pragma omp for schedule(static)
    for (size_t b = 0; b < blocks; b++) {
      while (b - before >= blocks_of(&slots[i])) before += blocks_of(&slots[i++]);
      size_t at = (b - before) * AVERAGE_BLOCK, left = slots[i].param->count - at;
      change(slots[i].mean + at, slots[i].param->value + at,
             left < AVERAGE_BLOCK ? left : AVERAGE_BLOCK, share);
    }
  }
}

void average_update(const AverageSlot *slots, size_t count, double keep, int threads) {
  change_all(slots, count, move_towards, (real)(1 - keep), threads);
}

void average_swap(const AverageSlot *slots, size_t count, int threads) {
  change_all(slots, count, exchange, 0, threads);
}

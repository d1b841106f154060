/* Averages of parameters over the steps of a training. */
#include "optim/average.h"

#include "base/threads.h"
#include "optim/deferred.h"

/* Numbers that a thread works on at a time. */
#define BLOCK ((size_t)16384)

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

/* Change means and values, blocks of them at a time. */
static void change_all(const AverageSlot *slots, size_t count, Change *change, real share,
                       int threads) {
  for (size_t i = 0; i < count; i++) param_settle(slots[i].param);
#pragma omp parallel num_threads(threads)
  for (size_t i = 0; i < count; i++) {
    real *mean = slots[i].mean, *value = slots[i].param->value;
    size_t total = slots[i].param->count;
#pragma omp for schedule(static) nowait
    for (size_t at = 0; at < total; at += BLOCK)
      change(mean + at, value + at, total - at < BLOCK ? total - at : BLOCK, share);
  }
}

void average_update(const AverageSlot *slots, size_t count, double keep, int threads) {
  change_all(slots, count, move_towards, (real)(1 - keep), threads);
}

void average_swap(const AverageSlot *slots, size_t count, int threads) {
  change_all(slots, count, exchange, 0, threads);
}

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

/* Rows of a parameter that a thread works on at a time. */
static size_t rows_of_block(const AverageSlot *s) {
  size_t rows = AVERAGE_BLOCK / (s->param->cols + 1);
  return rows > 1 ? rows : 1;
}

static size_t blocks_of(const AverageSlot *s) {
  return (s->param->rows + rows_of_block(s) - 1) / rows_of_block(s);
}

/* Block b of a slot; what is due of it is made while it is at hand. */
static void change_block(const AverageSlot *s, size_t b, Change *change, real share) {
  const Param *p = s->param;
  size_t row = b * rows_of_block(s), left = p->rows - row;
  size_t rows = left < rows_of_block(s) ? left : rows_of_block(s);
  if (param_is_due(p)) param_step_rows(p, row, rows);
  change(s->mean + row * p->cols, p->value + row * p->cols, rows * p->cols, share);
}

/* Change means and values, blocks of them at a time: the blocks of all parameters are
 * numbered through, so that small ones do not all fall to one thread. */
static void change_all(const AverageSlot *slots, size_t count, Change *change, real share,
                       int threads) {
  size_t blocks = 0;
  for (size_t i = 0; i < count; i++) blocks += blocks_of(&slots[i]);
#pragma omp parallel num_threads(threads)
  {
    size_t i = 0, before = 0; /* a slot, and blocks of those before it */
#pragma omp for schedule(dynamic, 4) nowait
    for (size_t b = 0; b < blocks; b++) {
      while (b - before >= blocks_of(&slots[i])) before += blocks_of(&slots[i++]);
      change_block(&slots[i], b - before, change, share);
    }
  }
  for (size_t i = 0; i < count; i++) param_step_made(slots[i].param);
}

void average_update(const AverageSlot *slots, size_t count, double keep, int threads) {
  change_all(slots, count, move_towards, (real)(1 - keep), threads);
}

void average_swap(const AverageSlot *slots, size_t count, int threads) {
  change_all(slots, count, exchange, 0, threads);
}

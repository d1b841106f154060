/* Steps of Adam that are due: how one is left, and made when somebody reads the weight.
 */
#include "optim/deferred.h"

#include "base/threads.h"

/* Part of a row of the gradient by which a step is due. */
static const real *due_gradient(const Param *p, size_t at, size_t n, real *buf) {
  return param_outer(p, p->due, at, n, buf);
}

static void make_rows(const void *slot, size_t row, size_t rows) {
  const OptimSlot *s = slot;
  size_t cols = s->param->cols;
  real buf[ADAM_SCRATCH];
  adam_rows(s, row * cols, rows * cols, &s->due, due_gradient, buf);
}

void param_defer(OptimSlot *s, const AdamFactors *f) {
  s->due = *f;
  s->param->due = s->param->pending;
  s->param->step = (DueStep){make_rows, s, {s->m, s->v}};
}

/* Fewer numbers do not repay waking the threads. */
#define SHARED_STEP 32768

void param_make_step(Param *p) {
  bool share = p->count >= SHARED_STEP && !omp_in_parallel();
#pragma omp parallel for schedule(static) num_threads(parallel_threads()) if (share)
  for (size_t row = 0; row < p->rows; row++) param_step_rows(p, row, 1);
  param_step_made(p);
}

void optim_settle(const OptimSlot *slots, size_t count) {
  for (size_t i = 0; i < count; i++) param_settle(slots[i].param);
}

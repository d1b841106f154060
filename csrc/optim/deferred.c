/* Steps that wait: left due, and made for whoever looks. */
#include "optim/deferred.h"

#include "base/threads.h"

void param_defer(Param *p, DueStep step) {
  p->due = p->pending;
  p->step = step;
}

/* Fewer numbers do not repay waking the threads. */
#define SHARED_STEP 32768

void param_make_step(Param *p) {
  bool share = p->count >= SHARED_STEP && !omp_in_parallel();
#pragma omp parallel for schedule(static) num_threads(parallel_threads()) if (share)
  for (size_t row = 0; row < p->rows; row++) param_step_rows(p, row, 1);
  param_step_made(p);
}

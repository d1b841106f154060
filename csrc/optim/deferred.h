/* The step that waits.
 *
 * An optimizer need not make a step of a fully connected layer's weight at once: it may
 * be left due, for the layer that reads the weight next, which then makes it row by row
 * and has the rows in cache.  All others settle it before they look at value or moments;
 * their tensors do so on their own (lua/tensor.h).  The factors of the gradient by which
 * it is due stay in u and v so long. */
#ifndef CGLOW_OPTIM_DEFERRED_H
#define CGLOW_OPTIM_DEFERRED_H

#include "optim/adam.h"

/* Can a step by the gradient as it is be left due? */
static inline bool param_may_defer(const Param *p) {
  return p->defers && p->pending > 0 && !p->dense;
}
/* Leave a step of Adam due; the slot must stay until it is settled. */
void param_defer(OptimSlot *s, const AdamFactors *f);

static inline bool param_is_due(const Param *p) { return p->due > 0; }
/* Make what is due of `rows` rows from `row` on, each row once; then param_step_made. */
static inline void param_step_rows(const Param *p, size_t row, size_t rows) {
  p->step.make(p->step.context, row, rows);
}
static inline void param_step_made(Param *p) { p->due = 0; }

/* Make all that is due; not where threads share the parameter. */
void param_make_step(Param *p);
static inline void param_settle(Param *p) {
  if (param_is_due(p)) param_make_step(p);
}
/* Make the steps that are due of all these slots. */
void optim_settle(const OptimSlot *slots, size_t count);
/* The numbers of the parameter, with nothing due. */
static inline real *param_value(Param *p) {
  param_settle(p);
  return p->value;
}

#endif

/* Optimizers: one pass over all parameters that reads each gradient once and
 * updates value and moments in place.  Adam: Kingma & Ba 2015, algorithm 1; its weight
 * decay is decoupled from the gradient (Loshchilov & Hutter 2019, algorithm 2). */
#ifndef CGLOW_OPTIM_OPTIM_H
#define CGLOW_OPTIM_OPTIM_H

#include "optim/adam.h"

typedef struct AdamStep {
  double lr, beta1, beta2, eps;
  double clip;       /* each gradient element to ±clip; 0: no clipping */
  double grad_scale; /* what clipping by global norm multiplies by */
  double decay;      /* value *= 1 - lr*decay, beside the step */
  uint64_t t;        /* counts from 1 */
} AdamStep;

typedef struct SgdStep {
  double lr, momentum, clip, grad_scale;
} SgdStep;

/* Numbers that one piece of work updates; scratch for each thread. */
#define OPTIM_CHUNK 65536
#define OPTIM_SCRATCH ADAM_SCRATCH

/* Number the chunks of all slots; returns how many there are. */
size_t optim_layout(OptimSlot *slots, size_t count);

/* Σ of squares of all gradients, after clipping each element to ±clip (0: no
 * clipping).  *bad: the first slot whose gradient is not finite, or count.
 * sums: one double for each chunk. */
double optim_square_norm(const OptimSlot *slots, size_t count, double clip, size_t *bad,
                         double *sums, real *scratch, int threads);

/* Adam squares what it is given: a larger gradient, unclipped, would make its
 * second moment infinite for ever. */
#ifdef CGLOW_DOUBLE
#define OPTIM_GRADIENT_MAX 1e150
#else
#define OPTIM_GRADIENT_MAX 1e18
#endif

/* The first slot whose gradient is not finite or exceeds `most`, which is at
 * least OPTIM_GRADIENT_MAX, or count; cheaper than the norm, because a pending
 * gradient is judged by its factors.  found: one bool for each chunk. */
size_t optim_first_bad(const OptimSlot *slots, size_t count, double most, bool *found,
                       real *scratch, int threads);

/* Steps that can be are left due; the slots must stay until all are settled. */
void optim_adam(OptimSlot *slots, size_t count, const AdamStep *step, real *scratch,
                int threads);
void optim_sgd(const OptimSlot *slots, size_t count, const SgdStep *step, real *scratch,
               int threads);

#endif

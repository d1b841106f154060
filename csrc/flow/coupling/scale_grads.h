/* Gradients of the coupling's small parameters: biases and logs of its two norms and of
 * conv3. */
#ifndef CGLOW_FLOW_COUPLING_SCALE_GRADS_H
#define CGLOW_FLOW_COUPLING_SCALE_GRADS_H

#include "flow/coupling/plan.h"

/* Where to add a parameter's gradient, and the factor for what is there. */
typedef struct Gradient {
  real *g, beta;
} Gradient;

static inline Gradient gradient_of(Param *p) {
  Gradient to;
  to.g = param_accumulate(p, &to.beta);
  return to;
}

/* Gradients of block b of the two norms, to[4] for bias1, logs1, bias2, logs2, from each
 * tile's sums, which lie in the same order. */
void coupling_norm_gradients(const Coupling *c, const CouplingPlan *p, const real *sums,
                             size_t b, const Gradient *to);
/* Gradients of bias and log-scale of channel o of conv3, from its output v and the
 * gradient of that. */
void coupling_conv3_gradients(const Coupling *c, const CouplingPlan *p, const real *v,
                              const real *dv, size_t o, Gradient dbias, Gradient dlogs);

#endif

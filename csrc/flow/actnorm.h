/* Activation normalisation (Lu & Huang 2020, section 3.2; Glow: Kingma & Dhariwal 2018,
 * section 3.1).
 *
 *   z = (y + b_c)·exp(s_c);   log-det = H·W·Σ_c s_c
 *
 * Conditional: (s, b) are the halves of tanh(condition), [n, 2C].  Unconditional: s and b
 * are the parameters logs and bias. */
#ifndef CGLOW_FLOW_ACTNORM_H
#define CGLOW_FLOW_ACTNORM_H

#include "flow/flow.h"

typedef struct ActNorm {
  Flow flow;
  bool conditional;
  Param *logs, *bias; /* unconditional */
} ActNorm;

extern const FlowOps flow_actnorm;

/* Set the parameters so that each channel of the batch y comes out with mean 0 and
 * variance 1; one that does not vary is scaled by 1e3. */
void actnorm_start(const ActNorm *a, const Act *y);

#endif

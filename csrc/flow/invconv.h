/* Invertible 1×1 convolution (Lu & Huang 2020, section 3.2; Glow: Kingma & Dhariwal 2018,
 * section 3.2).
 *
 *   z = W y at every pixel;   log-det = H·W·log|det W|
 *
 * W is C×C row-major.  Conditional: W = tanh(condition), [n, C·C].  Unconditional: W is
 * the parameter weight.  Factorised in double. */
#ifndef CGLOW_FLOW_INVCONV_H
#define CGLOW_FLOW_INVCONV_H

#include "flow/flow.h"

typedef struct InvConv {
  Flow flow;
  bool conditional;
  Param *weight; /* unconditional */
} InvConv;

extern const FlowOps flow_invconv;

/* log|det W| and the reciprocal condition number (1-norm, 0 when singular) of each W that
 * a run as for prepare has; r->logdet has room for both, r->rows numbers each. */
void invconv_diagnose(const InvConv *v, const FlowRun *r);

#endif

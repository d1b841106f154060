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

/* What was found of a weight, kept as long as the weight has the same bits. */
typedef struct KnownFactors {
  bool known;
  double logabsdet;
  real *w, *inverse; /* [C, C] */
} KnownFactors;

typedef struct InvConv {
  Flow flow;
  bool conditional;
  Param *weight; /* unconditional, as what follows */
  KnownFactors factors;
} InvConv;

extern const FlowOps flow_invconv;

/* Find the factors of the weights of some unconditional layers, side by side, where they
 * are not known: each alone is one piece of work.  Reals of scratch for layers of at most
 * c channels. */
size_t invconv_factorise_scratch(size_t c, int threads);
void invconv_factorise(InvConv *const *layers, size_t count, real *scratch, int threads);

/* log|det W| and the reciprocal condition number (1-norm, 0 when singular) of each W that
 * a run as for prepare has; r->logdet has room for both, r->rows numbers each. */
void invconv_diagnose(const InvConv *v, const FlowRun *r);

#endif

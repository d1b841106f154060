/* Affine injector: every number of y is shifted and scaled by what features of x say at
 * its pixel (SRFlow: Lugmayr et al. 2020, section 3.2).
 *
 *   z = (y + t)·exp(s);  t = a_even, s = β·tanh(a_odd/β);  log-det = Σ s
 *
 * a, [n, 2c, h, w], is a 1×1 convolution of the features (flow/features.h), which
 * starts at 0: the identity. */
#ifndef CGLOW_FLOW_INJECTOR_H
#define CGLOW_FLOW_INJECTOR_H

#include "flow/flow.h"

typedef struct Injector {
  Flow flow;
  real bound; /* β */
} Injector;

extern const FlowOps flow_injector;

#endif

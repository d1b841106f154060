/* What features add to the first convolution's output (flow/coupling/coupling.h): an
 * image for each hidden channel, which becomes panels of cells, and the way back. */
#ifndef CGLOW_FLOW_COUPLING_PRE_H
#define CGLOW_FLOW_COUPLING_PRE_H

#include "flow/coupling/plan.h"

/* Channels `which` of h1, for `n` cells from `cell` on; each sample of pre serves
 * `repeat`. */
void coupling_panels_of_pre(const Coupling *c, const CouplingPlan *p, const Act *pre,
                            size_t repeat, Channels which, size_t cell, size_t n,
                            real *h1);
/* From the gradient of conv1's output, d1, to that of what was added, if that is asked.
 */
void coupling_pre_backward(const Coupling *c, const CouplingPlan *p, const Act *dpre,
                           Channels which, size_t cell, size_t n, const real *d1);

#endif

/* What a coupling does to y2, pixel by pixel, given its network's output v
 * (flow/coupling/coupling.h): z2 = (y2 + t)·σ, and the way back. */
#ifndef CGLOW_FLOW_COUPLING_TRANSFORM_H
#define CGLOW_FLOW_COUPLING_TRANSFORM_H

#include "flow/coupling/plan.h"

/* z2 and logdet[n] from y2 and v; run_logs: n·h doubles of scratch. */
void coupling_transform(const Coupling *c, const CouplingPlan *p, const real *v,
                        const Act *y2, const Act *z2, double *run_logs, double *logdet,
                        int threads);
/* y2 from z2. */
void coupling_invert(const Coupling *c, const CouplingPlan *p, const real *v,
                     const Act *z2, const Act *y2, int threads);
/* From dz2 and dlogdet[n] to dy2 and dv, for one run of pixels. */
void coupling_run_backward(const Coupling *c, const CouplingPlan *p, const Act *y2,
                           const real *v, const Act *dz2, const real *dlogdet,
                           const Act *dy2, real *dv, Run run);

#endif

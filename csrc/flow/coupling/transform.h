/* What a coupling does to y2, pixel by pixel, given its network's output v
 * (flow/coupling/coupling.h): z2 = (y2 + t)·σ, and the way back. */
#ifndef CGLOW_FLOW_COUPLING_TRANSFORM_H
#define CGLOW_FLOW_COUPLING_TRANSFORM_H

#include "flow/coupling/plan.h"

/* What is done with v: y's channels to z's, or back. */
typedef struct CouplingUse {
  Act from1, to1; /* the half that stays as it is; data NULL: somebody else sees to it */
  Act from2, to2; /* the other one */
  double *run_logs; /* of each run, Σ log σ; NULL: from z to y */
} CouplingUse;

/* For run i of pixels. */
void coupling_use(const Coupling *c, const CouplingPlan *p, const real *v,
                  const CouplingUse *use, size_t i);
/* logdet[n] from run_logs. */
void coupling_logdet(const CouplingPlan *p, const double *run_logs, double *logdet);
/* From dz2 and dlogdet[n] to dy2 and dv, for one run of pixels. */
void coupling_run_backward(const Coupling *c, const CouplingPlan *p, const Act *y2,
                           const real *v, const Act *dz2, const real *dlogdet,
                           const Act *dy2, real *dv, Run run);

#endif

/* Diagonal Gaussians N(m, exp(s)²) over planes of n numbers; m and s both NULL
 * stand for N(0, 1).  The prior, and what a split scores its half by. */
#ifndef CGLOW_FLOW_GAUSSIAN_H
#define CGLOW_FLOW_GAUSSIAN_H

#include "base/real.h"

/* Σ −½·log 2π − s − ½·((z − m)/e^s)² */
double gaussian_log_prob(const real *z, const real *m, const real *s, size_t n);

/* g times that, differentiated: dz is set, dm and ds too unless m is NULL. */
void gaussian_backward(const real *z, const real *m, const real *s, real g, real *dz,
                       real *dm, real *ds, size_t n);

/* z = m + e^s·temperature·eps */
void gaussian_sample(const real *m, const real *s, const real *eps, real temperature,
                     real *z, size_t n);

#endif

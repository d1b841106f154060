/* Diagonal Gaussians N(m, exp(s)²) over planes of n numbers; m and s both NULL
 * stand for N(0, 1).  The prior, and what a split scores its half by. */
#ifndef CGLOW_FLOW_GAUSSIAN_H
#define CGLOW_FLOW_GAUSSIAN_H

#include "base/real.h"

/* Σ −½·log 2π − s − ½·((z − m)/e^s)² */
double gaussian_log_prob(const real *z, const real *m, const real *s, size_t n);

/* The gradient of g times gaussian_log_prob: dz is set, dm and ds too unless m is NULL. */
void gaussian_backward(const real *z, const real *m, const real *s, real g, real *dz,
                       real *dm, real *ds, size_t n);

/* z = m + e^s·temperature·eps */
void gaussian_sample(const real *m, const real *s, const real *eps, real temperature,
                     real *z, size_t n);

/* Planes of hw numbers come in pairs, of m and of s: with a bound β > 0 what
 * stands for s becomes β·tanh(·/β), and m stays. */
void moments_bound(real *ms, size_t pairs, size_t hw, real bound);
/* The backward pass of moments_bound: d, the gradient of n numbers s, becomes that of
 * what they were made of. */
void bound_backward(const real *s, real *d, size_t n, real bound);

#endif

/* A step of Adam (Kingma & Ba 2015, algorithm 1) on part of a parameter: value and
 * moments are read and written once. */
#ifndef CGLOW_OPTIM_ADAM_H
#define CGLOW_OPTIM_ADAM_H

#include "optim/param.h"

/* What a step of Adam multiplies by. */
typedef struct AdamFactors {
  real step, beta1, one_beta1, beta2, one_beta2, root2, eps, clip, scale;
  real keep; /* what weight decay leaves of the value */
} AdamFactors;

/* A parameter in an optimizer. */
typedef struct OptimSlot {
  Param *param;
  real *m, *v;  /* Adam's moments; SGD: m is the velocity, v is NULL */
  double scale; /* of the step size, for this parameter's group */
  double decay; /* of the weight decay; 0: none */
  size_t first_chunk;
  AdamFactors due; /* of the step that may still be due */
} OptimSlot;

/* Numbers at .. at+n-1 of a gradient, within one row; buf has room for them. */
typedef const real *GradientOf(const Param *p, size_t at, size_t n, real *buf);

#define ADAM_SCRATCH 1024

/* Numbers first .. first+n-1, by the dense gradient. */
void adam_dense(const OptimSlot *s, size_t first, size_t n, const AdamFactors *f);
/* Numbers first .. first+n-1, by a gradient that is formed as it is needed, in
 * ADAM_SCRATCH reals of buf. */
void adam_rows(const OptimSlot *s, size_t first, size_t n, const AdamFactors *f,
               GradientOf *gradient, real *buf);

#endif

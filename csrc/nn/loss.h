/* Losses of networks over pixels, with their gradients.
 *
 * out is [n, k, h, w]; a mask [n, h, w] weighs the pixels, NULL: all by 1. */
#ifndef CGLOW_NN_LOSS_H
#define CGLOW_NN_LOSS_H

#include <stdbool.h>

#include "base/act.h"

/* Are they whole numbers from 1 to k? */
bool loss_classes_fit(const real *classes, size_t count, size_t k);

/* Σ mask·(log Σ_j exp(out_j) − out_class); gradient = scale times its own.  classes
 * [n, h, w]; sums: n·h doubles of scratch. */
double loss_cross_entropy(const Act *out, const real *classes, const real *mask,
                          real scale, const Act *gradient, double *sums, int threads);

/* Σ mask·(out − target)², likewise. */
double loss_squared_error(const Act *out, const Act *target, const real *mask, real scale,
                          const Act *gradient, double *sums, int threads);

#endif

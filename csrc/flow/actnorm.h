/* Activation normalisation (design: conditional actnorm; Glow section 3.1).
 *
 *   z = (y + b_c)·exp(s_c);   log-det = H·W·Σ_c s_c
 *
 * s and b are a row of C numbers for each sample (conditional: `step` numbers
 * from one sample to the next) or one row for all (step 0).  One row serves
 * `repeat` samples in turn. */
#ifndef CGLOW_FLOW_ACTNORM_H
#define CGLOW_FLOW_ACTNORM_H

#include "base/act.h"

typedef struct ActNormRows {
  const real *s, *b;
  size_t step, repeat;
} ActNormRows;

void actnorm_forward(const Act *y, const ActNormRows *rows, const Act *z, double *logdet,
                     int threads);
void actnorm_inverse(const Act *z, const ActNormRows *rows, const Act *y, int threads);

/* dy, and for each sample n its own ds[n·C + c], db[n·C + c]. */
void actnorm_backward(const Act *z, const ActNormRows *rows, const Act *dz,
                      const real *dlogdet, const Act *dy, real *ds, real *db,
                      int threads);

/* bias and logs that make each channel of the batch y of mean 0 and variance 1; one
 * that does not vary is scaled by 1e3. */
void actnorm_start(const Act *y, real *bias, real *logs);

#endif

/* The average of parameters over the steps of a training, with weights that fall
 * exponentially into the past (Polyak & Juditsky 1992): it is what is evaluated, while
 * the optimizer goes on from the parameters themselves. */
#ifndef CGLOW_OPTIM_AVERAGE_H
#define CGLOW_OPTIM_AVERAGE_H

#include "optim/param.h"

typedef struct AverageSlot {
  Param *param;
  real *mean; /* as many numbers */
} AverageSlot;

/* mean = keep·mean + (1 - keep)·value. */
void average_update(const AverageSlot *slots, size_t count, double keep, int threads);
/* Exchange averages and values. */
void average_swap(const AverageSlot *slots, size_t count, int threads);

#endif

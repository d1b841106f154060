/* Gradients that several processes share, each with samples of its own.
 *
 * A dense gradient is added up.  A fully connected layer's is an outer product of as many
 * rows as there are samples: those of all processes, one after the other, are the factors
 * of the sum, and there is far less of them to send than of the matrix, as long as the
 * processes are few. */
#ifndef CGLOW_OPTIM_SHARED_H
#define CGLOW_OPTIM_SHARED_H

#include "optim/param.h"

typedef struct SharedFactors {
  Param *param;
  size_t place; /* in what a process sends: u [n, rows], then v [n, cols] */
} SharedFactors;

/* Set the places for n samples; returns the numbers that a process sends. */
size_t factors_layout(SharedFactors *slots, size_t count, size_t n);
/* The most numbers of one parameter's factors with n samples. */
size_t factors_largest(const SharedFactors *slots, size_t count, size_t n);

/* Write this process's factors, u times scale; zeros for a gradient that is zero.
 * Returns the first slot whose gradient is no product of n samples, or count. */
size_t factors_pack(const SharedFactors *slots, size_t count, size_t n, real scale,
                    real *out);

/* Make the gradients those of all processes' factors, which lie `apart` from each other.
 * They stay factors when there are no more samples than PARAM_MAX_PENDING, for which
 * there must be room; otherwise grad must have been allocated, and scratch has
 * factors_largest numbers for all samples. */
void factors_unpack(const SharedFactors *slots, size_t count, size_t n, size_t processes,
                    size_t apart, const real *all, real *scratch, int threads);

#endif

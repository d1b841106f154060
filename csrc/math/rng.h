/* Random numbers: Philox4x32-10 (Salmon et al., SC 2011), a counter-based
 * generator.  A stream is a sequence of blocks of four 32-bit words; block i is a
 * function of (seed, i) alone, so a fill gives the same numbers whatever the
 * number of threads, and the whole state is two integers.  A fill takes whole
 * blocks: four numbers each (float) or two (double). */
#ifndef CGLOW_MATH_RNG_H
#define CGLOW_MATH_RNG_H

#include "base/real.h"

typedef struct Rng {
  uint64_t seed;
  uint64_t position; /* next unused block of four 32-bit words */
} Rng;

/* Position 0 of the stream of this seed. */
void rng_seed(Rng *r, uint64_t seed);
/* The next block. */
void rng_block(Rng *r, uint32_t out[4]);
/* The bare block function, for comparison with published vectors. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* n numbers, uniform in [0, 1): multiples of 2^-24 (float) or 2^-53 (double). */
void rng_uniform(Rng *r, real *out, size_t n);
/* n numbers from N(0, 1) by Box-Muller; none is beyond 6.6 (float) or 8.6 (double). */
void rng_normal(Rng *r, real *out, size_t n);
/* Normal numbers for pairs of rows of n numbers, the second of each the negative of the
 * first. */
void rng_normal_pairs(Rng *r, real *out, size_t pairs, size_t n);
/* Uniform in 0..bound-1 without modulo bias; bound >= 1.  One block per trial,
 * nearly always one trial. */
uint64_t rng_below(Rng *r, uint64_t bound);

#endif

/* Random numbers: Philox4x32-10 (Salmon et al., SC 2011), a counter-based
 * generator.  Number i of a stream is a function of (seed, position + i) alone,
 * so a fill gives the same numbers whatever the number of threads, and the
 * whole state is two integers. */
#ifndef CGLOW_RNG_H
#define CGLOW_RNG_H

#include <lua.h>

#include "real.h"

#define RNG_TYPE "cglow.Rng"

typedef struct Rng {
  uint64_t seed;
  uint64_t position; /* next unused block of four 32-bit words */
} Rng;

void rng_seed(Rng *r, uint64_t seed);
/* n numbers, uniform in [0, 1): multiples of 2^-24 (float) or 2^-53 (double). */
void rng_uniform(Rng *r, real *out, size_t n);
/* n numbers from N(0, 1) by Box-Muller. */
void rng_normal(Rng *r, real *out, size_t n);
/* Uniform in 0..bound-1 without modulo bias; bound >= 1. */
uint64_t rng_below(Rng *r, uint64_t bound);

/* The generator at stack index arg, or this state's default one when arg is
 * none or nil. */
Rng *rng_check(lua_State *L, int arg);
Rng *rng_default(lua_State *L);

#endif

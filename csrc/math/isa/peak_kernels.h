/* The multiply-adds of math/peak.h for one instruction set (math/isa/kernels.h). */
#ifndef CGLOW_MATH_ISA_PEAK_KERNELS_H
#define CGLOW_MATH_ISA_PEAK_KERNELS_H

#include "base/simd.h"
#include "math/peak.h"

#define ROUNDS ((size_t)4096)
#define CHAINS ((size_t)12) /* enough independent sums to hide the latency of an FMA */

size_t FOR_ISA(multiply_add)(real factor, volatile real *sink) {
  Vector a[CHAINS], m = factor - (Vector){0}, b = m * (real)1e-3;
#pragma GCC unroll 12
  for (size_t i = 0; i < CHAINS; i++) a[i] = m + (real)i;
  for (size_t r = 0; r < ROUNDS; r++)
#pragma GCC unroll 12
    for (size_t i = 0; i < CHAINS; i++) a[i] = a[i] * m + b;
  real sum = 0;
  for (size_t i = 0; i < CHAINS; i++)
    for (size_t k = 0; k < LANES; k++) sum += a[i][k];
  *sink = sum;
  return 2 * ROUNDS * CHAINS * LANES;
}

#endif

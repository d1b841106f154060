/* The machine's peak of fused multiply-adds, which benchmarks measure against. */
#ifndef CGLOW_MATH_PEAK_H
#define CGLOW_MATH_PEAK_H

#include "base/isa.h"

/* flop/s of `real`, all threads together. */
double peak_flops(double seconds, int threads);

/* Multiply and add for a while; returns the number of flop. */
ISA_KERNEL(size_t, multiply_add, (real factor, volatile real *sink));

#endif

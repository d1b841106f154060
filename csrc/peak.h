/* The machine's peak of fused multiply-adds, which benchmarks measure against. */
#ifndef CGLOW_PEAK_H
#define CGLOW_PEAK_H

/* flop/s of `real`, all threads together. */
double peak_flops(double seconds, int threads);

#endif

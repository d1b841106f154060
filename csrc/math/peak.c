/* How many multiply-adds a processor makes in a second. */
#include "math/peak.h"

#include <omp.h>

double peak_flops(double seconds, int threads) {
  double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
  {
    volatile real sink;
    double flops = 0, start = omp_get_wtime(), now;
    do {
      flops += (double)BY_ISA(multiply_add)((real)0.999, &sink);
      now = omp_get_wtime();
    } while (now - start < seconds);
    total += flops / (now - start);
  }
  return total;
}

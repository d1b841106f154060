#include "peak.h"

#include <omp.h>

#include "vector.h"

#define ROUNDS 4096
#define CHAINS 12 /* enough independent sums to hide the latency of an FMA */

CLONES static real fma_rounds(real start) {
  Vector a[CHAINS], m = start - (Vector){0}, b = m * (real)1e-3;
  for (int i = 0; i < CHAINS; i++) a[i] = m + (real)i;
  for (int r = 0; r < ROUNDS; r++)
    for (int i = 0; i < CHAINS; i++) a[i] = a[i] * m + b;
  real sum = 0;
  for (int i = 0; i < CHAINS; i++)
    for (unsigned k = 0; k < LANES; k++) sum += a[i][k];
  return sum;
}

double peak_flops(double seconds, int threads) {
  double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
  {
    volatile real keep = (real)0.999;
    double calls = 0, start = omp_get_wtime(), now;
    do {
      keep = fma_rounds(keep < 2 ? (real)0.999 : (real)0.998);
      calls++;
      now = omp_get_wtime();
    } while (now - start < seconds);
    total += calls * 2.0 * ROUNDS * CHAINS * (double)LANES / (now - start);
  }
  return total;
}

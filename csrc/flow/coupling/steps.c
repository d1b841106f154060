/* The state of a flow in whole steps, the map between the steps, and its inverse. */
#include "flow/coupling/steps.h"

#include "base/threads.h"

#define STEP ((real)1 / 1024)
#define SHRINK ((real)32)
/* Half of a step, less a little: nothing farther from a step's middle belongs to it.
 * (This holds below 16, where `real` tells such numbers apart.) */
#define MOST ((real)(0.5 - 1.0 / 1024) * STEP)

CLONES static void plane_steps(const real *from, real *c, size_t n) {
  /* Adding this and taking it away rounds to whole steps, unless `real` itself has longer
   * ones at this number. */
  const real shift = (real)1.5 / REAL_EPS * STEP;
  for (size_t i = 0; i < n; i++) c[i] = (from[i] + shift) - shift;
}

CLONES static void plane_forward(const real *restrict y, const real *restrict c,
                                 real *restrict z, size_t n) {
  for (size_t i = 0; i < n; i++) z[i] = y[i] - (y[i] - c[i]) / SHRINK;
}

CLONES static void plane_inverse(const real *restrict z, const real *restrict c,
                                 real *restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) {
    real d = (z[i] - c[i]) * (SHRINK / (SHRINK - 1));
    d = d > MOST ? MOST : d;
    y[i] = c[i] + (d < -MOST ? -MOST : d);
  }
}

typedef void Plane(const real *from, const real *c, real *to, size_t n);

static void each_plane(Plane *f, const Act *from, const Act *c, const Act *to,
                       int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < from->n; n++)
    for (size_t k = 0; k < from->c; k++)
      f(act_plane(from, n, k), act_plane(c, n, k), act_plane(to, n, k),
        from->h * from->w);
}

void steps_of(const Act *y1, const Act *c, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < y1->n; n++)
    for (size_t k = 0; k < y1->c; k++)
      plane_steps(act_plane(y1, n, k), act_plane(c, n, k), y1->h * y1->w);
}

void steps_forward(const Act *y1, const Act *c, const Act *z1, int threads) {
  each_plane(plane_forward, y1, c, z1, threads);
}

void steps_inverse(const Act *z1, const Act *c, const Act *y1, int threads) {
  each_plane(plane_inverse, z1, c, y1, threads);
}

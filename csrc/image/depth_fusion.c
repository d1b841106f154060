/* Depth maps moved into one view, and the robust mean of what they say there. */
#include "image/depth_fusion.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "image/sort.h"

#ifdef CGLOW_DOUBLE
#define REAL_ABS fabs
#else
#define REAL_ABS fabsf
#endif

/* Does the depth step by more than `limit` towards a neighbour with a reading? */
static bool at_step(const real *d, size_t height, size_t width, size_t y, size_t x,
                    real limit) {
  real z = *d;
  return (x > 0 && d[-1] > 0 && REAL_ABS(d[-1] - z) > limit) ||
         (x + 1 < width && d[1] > 0 && REAL_ABS(d[1] - z) > limit) ||
         (y > 0 && d[-(ptrdiff_t)width] > 0 &&
          REAL_ABS(d[-(ptrdiff_t)width] - z) > limit) ||
         (y + 1 < height && d[width] > 0 && REAL_ABS(d[width] - z) > limit);
}

/* A point z·ray is moved to z·(R·ray) + t, and R·ray is linear in the column. */
void depth_reproject(const real *depth, size_t height, size_t width, const Camera *camera,
                     const double motion[12], double jump, real *out) {
  const double *m = motion;
  const double dx[3] = {m[0] / camera->fx, m[4] / camera->fx, m[8] / camera->fx};
  memset(out, 0, height * width * sizeof *out);
  for (size_t y = 0; y < height; y++) {
    double ray_y = ((double)y - camera->cy) / camera->fy, turned[3];
    for (int i = 0; i < 3; i++)
      turned[i] = m[4 * i + 1] * ray_y + m[4 * i + 2] - dx[i] * camera->cx;
    const real *row = depth + y * width;
    for (size_t x = 0; x < width; x++) {
      double z = row[x];
      if (!(z > 0) || at_step(row + x, height, width, y, x, (real)(jump * z))) continue;
      double tz = z * (turned[2] + dx[2] * (double)x) + m[11];
      if (!(tz > 0)) continue;
      double px = z * (turned[0] + dx[0] * (double)x) + m[3];
      double py = z * (turned[1] + dx[1] * (double)x) + m[7];
      double u = px / tz * camera->fx + camera->cx + 0.5;
      double v = py / tz * camera->fy + camera->cy + 0.5;
      /* also false for NaN */
      if (!(u > 0 && v > 0 && u < (double)width && v < (double)height)) continue;
      real *o = out + (size_t)v * width + (size_t)u;
      if (*o == 0 || tz < *o) *o = (real)tz;
    }
  }
}

/* Twice the spread of a Kinect's readings on one surface: its error grows with
 * the square of the distance (Khoshelham and Elberink, Sensors 2012); the
 * centimetre is for poses. */
static double spread(double z, double tolerance) { return 0.01 + tolerance * z * z; }

/* The surface that most of the sorted readings agree on, the nearer one of
 * equals: readings [*first, *first + returned). */
static size_t largest_group(const real *z, size_t n, double tolerance, size_t *first) {
  size_t best = 0;
  for (size_t low = 0, high = 0; low < n; low++) {
    double limit = z[low] + 2 * spread(z[low], tolerance);
    while (high < n && z[high] <= limit) high++;
    if (high - low > best) best = high - low, *first = low;
  }
  return best;
}

/* Readings within the spread of z0. */
static size_t group_around(const real *z, size_t n, double z0, double tolerance,
                           size_t *first) {
  double s = spread(z0, tolerance);
  size_t low = 0;
  while (low < n && z[low] < z0 - s) low++;
  size_t high = low;
  while (high < n && z[high] <= z0 + s) high++;
  *first = low;
  return high - low;
}

static double mean(const real *z, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += z[i];
  return sum / (double)n;
}

/* Other views see past the edge of a near surface, so most votes may be for
 * something behind it: the frame's own reading wins when a third as many agree
 * with it. */
static size_t agree(const real *z, size_t n, double own, double tolerance,
                    size_t *first) {
  size_t size = largest_group(z, n, tolerance, first), own_first;
  if (!(own > 0)) return size;
  size_t own_size = group_around(z, n, own, tolerance, &own_first);
  if (3 * own_size < size) return size;
  *first = own_first;
  return own_size;
}

/* The fused depth and *support, both 0 when too few readings agree. */
static double fuse_pixel(real *z, size_t n, double own, const FusionOptions *options,
                         size_t *support) {
  size_t first = 0, size;
  *support = 0;
  sort_few(z, n);
  size = agree(z, n, own, options->tolerance, &first);
  if (size < options->support) return 0;
  /* Group the readings again around the group's median, which is nearer to the truth than
   * where the group was found. */
  double middle = z[first + size / 2];
  size = group_around(z, n, middle, options->tolerance, &first);
  if (size < options->support) return 0;
  *support = size;
  return mean(z + first, size);
}

void depth_fuse(const real *stack, const real *own, size_t views, size_t height,
                size_t width, const FusionOptions *options, real *scratch, real *clean,
                real *count, int threads) {
  size_t pixels = height * width;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t y = 0; y < height; y++) {
    real *z = scratch + (size_t)omp_get_thread_num() * (views + 1);
    for (size_t p = y * width; p < (y + 1) * width; p++) {
      size_t n = 0, support = 0;
      for (size_t v = 0; v < views; v++)
        if (stack[v * pixels + p] > 0) z[n++] = stack[v * pixels + p];
      if (own[p] > 0) z[n++] = own[p];
      clean[p] = (real)fuse_pixel(z, n, own[p], options, &support);
      count[p] = (real)support;
    }
  }
}

/* Holes filled from their border: by medians, or by diffusion. */
#include "image/inpaint.h"

#include <math.h>
#include <string.h>

#include "image/sort.h"

typedef struct Window {
  size_t top, bottom, left, right; /* inclusive */
} Window;

static Window window_around(size_t y, size_t x, size_t radius, size_t height,
                            size_t width) {
  Window w = {y > radius ? y - radius : 0, y + radius < height ? y + radius : height - 1,
              x > radius ? x - radius : 0, x + radius < width ? x + radius : width - 1};
  return w;
}

/* v may be put in another order. */
static real median(real *v, size_t n) {
  sort_few(v, n);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static real mean(real *v, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += v[i];
  return (real)(sum / (double)n);
}

typedef real (*Average)(real *v, size_t n);

/* Known neighbours (wave before this one) of a hole pixel, into v. */
static size_t known_around(const real *plane, const real *wave, Window w, size_t width,
                           real *v) {
  size_t n = 0;
  for (size_t y = w.top; y <= w.bottom; y++)
    for (size_t x = w.left; x <= w.right; x++)
      if (wave[y * width + x] != 0) v[n++] = plane[y * width + x];
  return n;
}

/* Wave after wave: hole pixels that see a known one take the summary of what
 * they see.  before, after: which pixels are known, of this wave and the next. */
static void grow(real *plane, const real *valid, size_t height, size_t width,
                 size_t radius, Average summary, real *before, real *after, real *v) {
  size_t pixels = height * width, left = 1;
  memcpy(before, valid, pixels * sizeof *before);
  while (left > 0) {
    left = 0;
    memcpy(after, before, pixels * sizeof *after);
    for (size_t y = 0; y < height; y++)
      for (size_t x = 0; x < width; x++) {
        size_t p = y * width + x;
        if (before[p] != 0) continue;
        size_t n = known_around(plane, before, window_around(y, x, radius, height, width),
                                width, v);
        if (n == 0) {
          left++;
        } else {
          plane[p] = summary(v, n);
          after[p] = 1;
        }
      }
    real *t = before;
    before = after;
    after = t;
  }
}

void fill_median(real *image, const real *valid, size_t channels, size_t height,
                 size_t width, size_t radius, real *scratch) {
  size_t pixels = height * width;
  for (size_t c = 0; c < channels; c++)
    grow(image + c * pixels, valid, height, width, radius, median, scratch,
         scratch + pixels, scratch + 2 * pixels);
}

/* The mean of the neighbours that exist: no flux through the image's edge. */
static double mean_of_four(const real *plane, size_t height, size_t width, size_t p) {
  size_t x = p % width, y = p / width;
  double sum = 0;
  int n = 0;
  if (x > 0) sum += plane[p - 1], n++;
  if (x + 1 < width) sum += plane[p + 1], n++;
  if (y > 0) sum += plane[p - width], n++;
  if (y + 1 < height) sum += plane[p + width], n++;
  return n > 0 ? sum / n : plane[p]; /* the only pixel has none */
}

static double sweep(real *plane, const real *valid, size_t height, size_t width,
                    double relaxation) {
  double worst = 0;
  for (size_t p = 0; p < height * width; p++) {
    if (valid[p] != 0) continue;
    double change = mean_of_four(plane, height, width, p) - plane[p];
    plane[p] += (real)(relaxation * change);
    if (fabs(change) > worst) worst = fabs(change);
  }
  return worst;
}

/* The most holes in a row of any line, which sets the best relaxation. */
static size_t widest_hole(const real *valid, size_t height, size_t width) {
  size_t widest = 0;
  for (size_t y = 0, run = 0; y < height; y++, run = 0)
    for (size_t x = 0; x < width; x++) {
      run = valid[y * width + x] != 0 ? 0 : run + 1;
      if (run > widest) widest = run;
    }
  return widest;
}

size_t fill_diffusion(real *image, const real *valid, size_t channels, size_t height,
                      size_t width, double tolerance, size_t max_sweeps, real *scratch) {
  size_t pixels = height * width, most = 0;
  size_t widest = widest_hole(valid, height, width);
  if (widest == 0) return 0;
  double pi = 3.14159265358979323846;
  double relaxation = 2 / (1 + sin(pi / (double)(widest + 1)));
  real nine[9];
  for (size_t c = 0; c < channels; c++) {
    real *plane = image + c * pixels;
    grow(plane, valid, height, width, 1, mean, scratch, scratch + pixels, nine);
    size_t n = 0;
    double change = INFINITY;
    for (; n < max_sweeps && change > tolerance; n++)
      change = sweep(plane, valid, height, width, relaxation);
    if (n > most) most = n;
  }
  return most;
}

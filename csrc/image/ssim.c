/* Structural similarity.  The window is a product of two: each row is weighted once along
 * itself and kept for the eleven rows of results that it is part of. */
#include "image/ssim.h"

#include <math.h>

enum { A, B, AA, BB, AB, KINDS }; /* weighted means of a, b, a², b² and ab */

static void fill_window(double *weight) {
  const double sigma = 1.5;
  const int centre = SSIM_WINDOW / 2;
  double sum = 0;
  for (int i = 0; i < SSIM_WINDOW; i++) {
    double d = i - centre;
    weight[i] = exp(-d * d / (2 * sigma * sigma));
    sum += weight[i];
  }
  for (int i = 0; i < SSIM_WINDOW; i++) weight[i] /= sum;
}

/* One row, weighted along itself: KINDS rows of `count` numbers. */
static void along_row(const real *a, const real *b, size_t count, const double *weight,
                      double *out) {
  for (size_t x = 0; x < count; x++) {
    double sum[KINDS] = {0};
    for (int i = 0; i < SSIM_WINDOW; i++) {
      double p = a[x + (size_t)i], q = b[x + (size_t)i], w = weight[i];
      sum[A] += w * p;
      sum[B] += w * q;
      sum[AA] += w * p * p;
      sum[BB] += w * q * q;
      sum[AB] += w * p * q;
    }
    for (size_t k = 0; k < KINDS; k++) out[k * count + x] = sum[k];
  }
}

/* Equation 13 of the paper from the means under one window. */
static double similarity(const double *m, double peak) {
  const double c1 = 0.01 * peak * 0.01 * peak, c2 = 0.03 * peak * 0.03 * peak;
  double aa = m[AA] - m[A] * m[A], bb = m[BB] - m[B] * m[B], ab = m[AB] - m[A] * m[B];
  return (2 * m[A] * m[B] + c1) * (2 * ab + c2) /
         ((m[A] * m[A] + m[B] * m[B] + c1) * (aa + bb + c2));
}

double ssim(const real *a, const real *b, size_t height, size_t width, double peak,
            double *work) {
  double weight[SSIM_WINDOW], sum = 0;
  size_t count = width - SSIM_WINDOW + 1, rows = height - SSIM_WINDOW + 1;
  fill_window(weight);
  for (size_t y = 0; y < height; y++) {
    along_row(a + y * width, b + y * width, count, weight,
              work + y % SSIM_WINDOW * KINDS * count);
    for (size_t x = 0; y + 1 >= SSIM_WINDOW && x < count; x++) {
      double m[KINDS] = {0};
      for (size_t i = 0; i < SSIM_WINDOW; i++) {
        const double *row = work + (y + 1 + i) % SSIM_WINDOW * KINDS * count + x;
        for (size_t k = 0; k < KINDS; k++) m[k] += weight[i] * row[k * count];
      }
      sum += similarity(m, peak);
    }
  }
  return sum / ((double)count * (double)rows);
}

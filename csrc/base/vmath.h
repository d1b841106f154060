/* exp, tanh, sigmoid and log-sigmoid that compilers vectorise.
 *
 * float: argument reduction and a Taylor polynomial, within a few ulp over the
 * whole range; larger arguments saturate to inf, smaller to 0; NaN stays NaN.
 * double: libm, because that build exists to be exact. */
#ifndef CGLOW_BASE_VMATH_H
#define CGLOW_BASE_VMATH_H

#include <math.h>
#include <string.h>

#include "base/real.h"

#ifdef CGLOW_DOUBLE

ALWAYS_INLINE double v_exp(double x) { return exp(x); }
ALWAYS_INLINE double v_tanh(double x) { return tanh(x); }
ALWAYS_INLINE double v_log(double x) { return log(x); }

#else

/* x = n·ln2 + r with |r| <= ln2/2; returns e^r − 1 by its Taylor polynomial of
 * degree 7 (the next term is below 6e-9).  |x| must be below 2^21. */
ALWAYS_INLINE float reduced_expm1(float x, int *n) {
  const float shift = 12582912.0f; /* 1.5·2^23: adding it rounds to an integer */
  float k = (x * 1.44269504f + shift) - shift;
  /* ln2 = 355/512 − 2.12194440e-4; the first product is exact. */
  float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  *n = (int)k;
  return p * r * r + r;
}

ALWAYS_INLINE float power_of_two(int n) {
  uint32_t bits = (uint32_t)(n + 127) << 23;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

ALWAYS_INLINE float v_exp(float x) {
  float c = x > 89.0f ? 89.0f : x; /* false for NaN, which stays */
  c = c < -104.0f ? -104.0f : c;
  int n;
  float p = reduced_expm1(c != c ? 0.0f : c, &n);
  /* 2^n in two halves, so that both are normal numbers. */
  int half = n >> 1;
  float e = (p + 1.0f) * power_of_two(half) * power_of_two(n - half);
  e = x > 88.7228f ? HUGE_VALF : e;
  e = x < -103.9721f ? 0.0f : e;
  return x != x ? x : e;
}

/* tanh|x| = m/(m + 2) with m = e^2|x| − 1, exact also near 0. */
ALWAYS_INLINE float v_tanh(float x) {
  float a = x < 0 ? -x : x;
  a = a > 10.0f ? 10.0f : a;
  int n;
  float p = reduced_expm1(a != a ? 0.0f : 2.0f * a, &n);
  float s = power_of_two(n);
  float m = p * s + (s - 1.0f);
  float t = m / (m + 2.0f);
  t = x < 0 ? -t : t;
  return x != x ? x : t;
}

ALWAYS_INLINE float v_log(float x) { return logf(x); }

#endif

/* Stable in both tails: exp is only taken of numbers <= 0. */
ALWAYS_INLINE real v_sigmoid(real x) {
  real e = v_exp(x < 0 ? x : -x);
  real d = 1 / (1 + e);
  return x < 0 ? e * d : d;
}

#endif

/* The patches of math/conv_winograd.h for one instruction set; in pairs of bfloat16
 * (math/pairs.h) if PAIRS is defined. */
#ifndef CGLOW_MATH_ISA_CONV_WINOGRAD_PATCHES_H
#define CGLOW_MATH_ISA_CONV_WINOGRAD_PATCHES_H

#include "base/simd.h"
#include "math/conv_winograd_kernels.h"

/* Bᵀ and A (math/isa/conv_winograd_kernels.h) along one axis. */
#define ROOT ((real)0.70710678118654752)

ALWAYS_INLINE void patch_axis(const Vector *d, Vector *u) {
  Vector even = d[4] - 2 * d[2], odd = ROOT * (d[3] - 2 * d[1]);
  u[0] = d[0] - (real)2.5 * d[2] + d[4];
  u[1] = even + odd;
  u[2] = even - odd;
  even = d[4] - (real)0.5 * d[2], odd = (2 * ROOT) * (d[3] - (real)0.5 * d[1]);
  u[3] = even + odd;
  u[4] = even - odd;
  u[5] = d[1] - (real)2.5 * d[3] + d[5];
}

ALWAYS_INLINE void spread_axis(const Vector *y, Vector *m) {
  Vector even = y[0] + (real)0.5 * y[2], odd = ROOT * (y[1] + (real)0.5 * y[3]);
  m[0] = y[0];
  m[1] = even + odd;
  m[2] = even - odd;
  even = y[0] + 2 * y[2], odd = (2 * ROOT) * (y[1] + 2 * y[3]);
  m[3] = even + odd;
  m[4] = even - odd;
  m[5] = y[3];
}

/* LANES channels of a patch: factors of a product, PATCH_FACTORS in a number. */
#ifdef PAIRS
#define PATCH_FACTORS 2
#define PATCH_NUMBERS(p, v)                   \
  _mm256_storeu_si256((__m256i *)(void *)(p), \
                      _mm256_rol_epi32((__m256i)_mm512_cvtneps_pbh((__m512)(v)), 16))
#else
#define PATCH_FACTORS 1
#define PATCH_NUMBERS(p, v) (VECTOR_AT(p) = (v))
#endif

/* Squares whose columns wait in the first-level cache, between the two axes. */
#define SOME_SQUARES ((size_t)8)

/* Columns of LANES channels, transformed along the first axis. */
typedef struct Strip {
  real u[6][(4 * SOME_SQUARES + 2) * LANES];
} Strip;

/* Column k of the strip from `count` pixels, one above the other, of column x. */
ALWAYS_INLINE void strip_column(const size_t count, const PixelRow *row, ptrdiff_t x,
                                size_t w, size_t k, Strip *strip, Vector *sum) {
  Vector d[6], u[6] = {{0}};
  if (x >= 0 && x < (ptrdiff_t)w) {
#pragma GCC unroll 6
    for (size_t i = 0; i < count; i++)
      d[i] = CONST_VECTOR_AT(row[i].p + (size_t)x * row[i].step);
    if (count == 6) {
      patch_axis(d, u);
    } else {
      spread_axis(d, u);
      *sum += (d[0] + d[1]) + (d[2] + d[3]);
    }
  }
#pragma GCC unroll 6
  for (size_t i = 0; i < 6; i++) VECTOR_AT(strip->u[i] + k * LANES) = u[i];
}

/* Square `at` of the strip along the other axis, to v. */
ALWAYS_INLINE void strip_square(const size_t count, const Strip *strip, size_t at,
                                Positions v) {
#pragma GCC unroll 6
  for (size_t i = 0; i < 6; i++) {
    Vector d[6], u[6];
#pragma GCC unroll 6
    for (size_t j = 0; j < count; j++)
      d[j] = CONST_VECTOR_AT(strip->u[i] + (4 * at + j) * LANES);
    if (count == 6)
      patch_axis(d, u);
    else
      spread_axis(d, u);
#pragma GCC unroll 6
    for (size_t j = 0; j < 6; j++) PATCH_NUMBERS(v.p + (6 * i + j) * v.step, u[j]);
  }
}

/* From so many rows of pixels and as many columns, of which `before` lie before a
 * square's first. */
ALWAYS_INLINE void square_row(const size_t count, const ptrdiff_t before,
                              const PixelRow *row, size_t w, size_t squares, Positions v,
                              size_t next, real *sums) {
  Strip strip;
  for (size_t l = 0; l < PANEL; l += LANES) {
    PixelRow from[6];
    Vector sum = {0};
    for (size_t i = 0; i < count; i++) from[i] = (PixelRow){row[i].p + l, row[i].step};
    for (size_t s = 0, some; s < squares; s += some) {
      some = squares - s < SOME_SQUARES ? squares - s : SOME_SQUARES;
      for (size_t k = 0; k < 4 * some + (count - 4); k++)
        strip_column(count, from, (ptrdiff_t)(4 * s + k) - before, w, k, &strip, &sum);
      for (size_t k = 0; k < some; k++)
        strip_square(count, &strip, k,
                     (Positions){v.p + (s + k) * next + l / PATCH_FACTORS, v.step});
    }
    if (sums != NULL) VECTOR_AT(sums + l) = CONST_VECTOR_AT(sums + l) + sum;
  }
}

void FOR_ISA(conv_patches)(PATCHES_ARGS) {
  square_row(6, 1, row, w, squares, v, next, NULL);
}

#endif

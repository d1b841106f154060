/* The products of math/winograd.h for AVX512_BF16: factors that several products read are
 * rounded to pairs once, the filters by winograd_filters_ready. */
#ifndef CGLOW_MATH_ISA_WINOGRAD_PAIR_KERNELS_H
#define CGLOW_MATH_ISA_WINOGRAD_PAIR_KERNELS_H

#include "math/isa/pair_kernels.h"
#include "math/winograd.h"

#define WIDE_ROWS ((size_t)8)
/* Channels of patches that are rounded at a time. */
#define SOME_FEW ((size_t)64)
/* Rows of four panels, and of patches, that are rounded at a time. */
#define SOME_ROWS ((size_t)32)
#define SOME_PATCHES ((size_t)48)

void winograd_pairs_avx512_bf16(WINOGRAD_READY_ARGS) {
  for (size_t p = 0; p < POSITIONS; p++)
    for (size_t f = 0; f < count; f += widens ? 2 : 1) {
      real *row = u + (p * few + f) * PANEL;
      if (widens)
        round_right(2, f + 1 < count ? 2 : 1, right_rows(row, PANEL), row);
      else
        round_rows(1, PANEL, left_rows(row, PANEL), row, PANEL);
    }
}

/* c (+)= a·b of pairs, n a half of a panel or all. */
ALWAYS_INLINE void product_of_pairs(const int rows, size_t m, size_t n, size_t pairs,
                                    Left a, const real *b, bool add, real *c) {
  if (n > LANES)
    strip(rows, 2, m, n, pairs, a, right_rows(b, PANEL), add ? c : NULL, c, PANEL, NULL);
  else
    strip(rows, 1, m, n, pairs, a, right_rows(b, PANEL), add ? c : NULL, c, PANEL, NULL);
}

/* The 16 products of a block of wide channels. */
ALWAYS_INLINE void widen_positions(const real *u, size_t few, size_t count, const real *v,
                                   size_t n, bool rounded, real *right, real *m) {
  for (size_t i = 0, some; i < count; i += some) {
    some = count - i < SOME_FEW ? count - i : SOME_FEW;
    for (size_t p = 0; p < POSITIONS; p++) {
      real *b = right + p * SOME_FEW / 2 * PANEL;
      Left left = {u + (p * few + i) * PANEL, 1, 2 * PANEL, SIZE_MAX, 0, true};
      if (!rounded || count > SOME_FEW)
        round_right(2, some, right_rows(v + (p * count + i) * PANEL, PANEL), b);
      product_of_pairs(WIDEN_ROWS, WIDE_ROWS, n, (some + 1) / 2, left, b, i > 0,
                       m + p * WIDE_ROWS * PANEL);
    }
  }
}

void FOR_ISA(widen)(WIDEN_ARGS) {
  _Alignas(64) real m[POSITIONS * WIDE_ROWS * PANEL];
  _Alignas(64) real right[POSITIONS * SOME_FEW / 2 * PANEL];
  for (size_t k = 0; k < rows; k += WIDE_ROWS) {
    const real *left = u + (k / PANEL * POSITIONS * few + first) * PANEL + k % PANEL;
    widen_positions(left, few, count, v, n, k > 0, right, m);
    widen_block(m, WIDE_ROWS, k, rows, wide, n, add, out);
  }
}

/* A row i of Aᵀh: of two panels, an upper and a lower one. */
ALWAYS_INLINE __m512 upper_and_lower(const size_t i, const real *upper,
                                     const real *lower) {
  if (i == 0) return _mm512_loadu_ps(upper);
  if (i == 3) return _mm512_loadu_ps(lower);
  __m512 a = _mm512_loadu_ps(upper), b = _mm512_loadu_ps(lower);
  return i == 1 ? _mm512_add_ps(a, b) : _mm512_sub_ps(a, b);
}

/* Pairs of `k` rows of the four panels, `next` apart, for the positions of a row i of
 * patches: to[4][SOME_ROWS/2][PANEL]. */
ALWAYS_INLINE void round_positions(const size_t i, size_t k, const real *h, size_t next,
                                   real *to) {
  const size_t position = SOME_ROWS / 2 * PANEL;
  for (size_t r = 0; r < k; r += 2, h += 2 * PANEL, to += PANEL)
    for (size_t l = 0; l < PANEL; l += LANES) {
      __m512 left[2] = {{0}}, right[2] = {{0}};
#pragma GCC unroll 2
      for (size_t q = 0; q < 2; q++) {
        const real *p = h + q * PANEL + l;
        if (r + q >= k) continue;
        left[q] = upper_and_lower(i, p, p + 2 * next);
        right[q] = upper_and_lower(i, p + next, p + 3 * next);
      }
      _mm512_store_si512(to + l, pairs_of(left[0], left[1]));
      _mm512_store_si512(to + position + l, pairs_of(_mm512_add_ps(left[0], right[0]),
                                                     _mm512_add_ps(left[1], right[1])));
      _mm512_store_si512(
          to + 2 * position + l,
          pairs_of(_mm512_sub_ps(left[0], right[0]), _mm512_sub_ps(left[1], right[1])));
      _mm512_store_si512(to + 3 * position + l, pairs_of(right[0], right[1]));
    }
}

/* For the rows of patches in turn: round_positions, known when compiled. */
ALWAYS_INLINE void round_patch_row(size_t i, size_t k, const real *h, size_t next,
                                   real *to) {
  if (i == 0)
    round_positions(0, k, h, next, to);
  else if (i == 1)
    round_positions(1, k, h, next, to);
  else if (i == 2)
    round_positions(2, k, h, next, to);
  else
    round_positions(3, k, h, next, to);
}

void FOR_ISA(narrow)(NARROW_ARGS) {
  _Alignas(64) real right[4 * SOME_ROWS / 2 * PANEL];
  for (size_t k = 0; k < wide; k += SOME_ROWS) {
    const real *left = u + k * POSITIONS * few;
    size_t rows = wide - k < SOME_ROWS ? wide - k : SOME_ROWS;
    for (size_t p = 0; p < POSITIONS; p++) {
      size_t at = p * few * PANEL;
      if (p % 4 == 0) round_patch_row(p / 4, rows, h + k * PANEL, wide * PANEL, right);
      product_of_pairs(NARROW_ROWS, count, n, (rows + 1) / 2,
                       left_pairs(left + at, PANEL),
                       right + p % 4 * SOME_ROWS / 2 * PANEL, k > 0, v + at);
    }
  }
}

/* h: four panels, [n][PANEL] each: squares as rows, a block of wide channels. */
void FOR_ISA(sum)(SUM_ARGS) {
  _Alignas(64) real right[4 * SOME_ROWS / 2 * PANEL], left[SOME_PATCHES * LANES + LANES];
  for (size_t p = 0; p < POSITIONS; p++) {
    size_t at = p * few * PANEL;
    if (p % 4 == 0) round_patch_row(p / 4, n, h, PANEL * PANEL, right);
    for (size_t f = 0, some; f < few; f += some) {
      some = few - f < SOME_PATCHES ? few - f : SOME_PATCHES;
      round_rows(some, n, left_rows(v + at + f * PANEL, PANEL), left, LANES);
      product_of_pairs(NARROW_ROWS, some, PANEL, (n + 1) / 2, left_pairs(left, LANES),
                       right + p % 4 * SOME_ROWS / 2 * PANEL, add, du + at + f * PANEL);
    }
  }
}

#endif

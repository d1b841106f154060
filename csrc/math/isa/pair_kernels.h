/* Factors that are rounded once to pairs of bfloat16 (math/pairs.h), for AVX512_BF16. */
#ifndef CGLOW_MATH_ISA_PAIR_KERNELS_H
#define CGLOW_MATH_ISA_PAIR_KERNELS_H

#include "math/isa/gemm_kernels.h"
#include "math/isa/transpose_square.h"
#include "math/pairs.h"

void FOR_ISA(pairs_rows)(PAIRS_ROWS_ARGS) { round_rows(m, k, a, to, ld); }

void FOR_ISA(pairs_columns)(PAIRS_ROWS_ARGS) {
  for (size_t i = 0; i < k; i += 2, a.p += 2 * a.col, to += ld)
    for (size_t r = 0; r < m; r += LANES) {
      ptrdiff_t left = (ptrdiff_t)(m - r);
      __m512 second = numbers_at(a.p + a.col + r, i + 1 < k ? left : 0);
      _mm512_storeu_si512(to + r, pairs_of(numbers_at(a.p + r, left), second));
    }
}

/* A row's numbers follow each other along k: pairs of them are turned, not numbers. */
void FOR_ISA(pairs_transpose)(TRANSPOSE_ARGS) {
  _Alignas(64) real pairs[LANES * LANES];
  for (size_t i = 0; i < k; i += 2 * LANES, panel += LANES * PANEL)
    for (size_t g = 0; g < PANEL; g += LANES) {
      size_t rows = n > g ? n - g : 0;
      if (rows > LANES) rows = LANES;
      round_rows(rows, k - i < 2 * LANES ? k - i : 2 * LANES,
                 left_rows(src + g * ld + i, ld), pairs, LANES);
      memset(pairs + rows * LANES, 0, (LANES - rows) * LANES * sizeof *pairs);
      transpose_square(pairs, LANES, LANES, panel + g);
    }
}

void FOR_ISA(pairs_product)(PRODUCT_ARGS, Prefetch *f) {
  const Right right = {b, ldb, 0, 0, true};
  if (f != NULL && f->step > 0)
    product_prefetching(PRODUCT_ROWS, 2, m, n, k, a, right, start, c, ldc, f);
  else
    product(PRODUCT_ROWS, 2, m, n, k, a, right, start, c, ldc);
}

#endif

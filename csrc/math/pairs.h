/* Factors of products that are rounded to bfloat16 once for several products.
 *
 * Where the processor multiplies pairs of bfloat16 (AVX512_BF16), a product's factors are
 * rounded to such pairs anyhow: two numbers that follow each other along k, in the place
 * of one.  A factor that several products read, or that is turned, is best rounded once.
 * Elsewhere nothing of this is called, and factors are left as they are; the numbers that
 * come of a product are the same. */
#ifndef CGLOW_MATH_PAIRS_H
#define CGLOW_MATH_PAIRS_H

#include "math/gemm.h"

/* May what is below be called? */
bool rounds_to_pairs(Precision how);

/* Pairs of a row of k factors, and what is written behind them. */
static inline size_t pairs_row(size_t k) { return (k + 31) / 32 * 16; }

/* m rows of k factors, whose factors follow each other but for runs: to[m][ld] in pairs.
 */
#define PAIRS_ROWS_ARGS size_t m, size_t k, Left a, real *to, size_t ld
void pairs_of_rows(PAIRS_ROWS_ARGS);
static inline Left left_pairs(const real *p, size_t ld) {
  return (Left){p, ld, 1, SIZE_MAX, 0, true};
}
/* The transpose of a matrix likewise, columns of which follow each other: to[k/2][ld]. */
void pairs_of_columns(PAIRS_ROWS_ARGS);
static inline Left left_pair_columns(const real *p, size_t ld) {
  return (Left){p, 1, ld, SIZE_MAX, 0, true};
}
/* As panel_transpose, to panel[k/2][PANEL] in pairs; k is 16 or a multiple of 32. */
void pairs_transpose(TRANSPOSE_ARGS);
/* As panel_product_prefetching of bfloat16, where b is such a panel; f may be NULL. */
void pairs_product(PRODUCT_ARGS, Prefetch *f);

#if HAVE_AVX512_BF16
void pairs_rows_avx512_bf16(PAIRS_ROWS_ARGS);
void pairs_columns_avx512_bf16(PAIRS_ROWS_ARGS);
void pairs_transpose_avx512_bf16(TRANSPOSE_ARGS);
void pairs_product_avx512_bf16(PRODUCT_ARGS, Prefetch *f);
#endif

#endif

/* Factors in pairs of bfloat16: for AVX512_BF16 alone. */
#include "math/pairs.h"

#if HAVE_AVX512_BF16
bool rounds_to_pairs(Precision how) {
  return how == PRECISION_BF16 && isa_of_bf16() == ISA_BF16;
}

void pairs_of_rows(PAIRS_ROWS_ARGS) { pairs_rows_avx512_bf16(m, k, a, to, ld); }

void pairs_of_columns(PAIRS_ROWS_ARGS) { pairs_columns_avx512_bf16(m, k, a, to, ld); }

void pairs_transpose(TRANSPOSE_ARGS) {
  pairs_transpose_avx512_bf16(src, ld, k, n, panel);
}

void pairs_product(PRODUCT_ARGS, Prefetch *f) {
  pairs_product_avx512_bf16(m, n, k, a, b, ldb, start, c, ldc, f);
}
#else
bool rounds_to_pairs(Precision how) {
  (void)how;
  return false;
}

void pairs_of_rows(PAIRS_ROWS_ARGS) { (void)m, (void)k, (void)a, (void)to, (void)ld; }

void pairs_of_columns(PAIRS_ROWS_ARGS) { (void)m, (void)k, (void)a, (void)to, (void)ld; }

void pairs_transpose(TRANSPOSE_ARGS) {
  (void)src, (void)ld, (void)k, (void)n, (void)panel;
}

void pairs_product(PRODUCT_ARGS, Prefetch *f) {
  (void)m, (void)n, (void)k, (void)a, (void)b, (void)ldb, (void)start, (void)c, (void)ldc;
  (void)f;
}
#endif

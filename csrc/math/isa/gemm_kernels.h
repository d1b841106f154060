/* Products for one instruction set (math/isa/kernels.h), and for one precision: with
 * ROUNDED their operands are rounded first (math/isa/rounded_operands.h); MULTIPLY_ADD,
 * where it is defined, multiplies pairs of them.  With TILES sums are not kept in vectors
 * (math/isa/tile_products.h). */
#ifndef CGLOW_MATH_ISA_GEMM_KERNELS_H
#define CGLOW_MATH_ISA_GEMM_KERNELS_H

#include <string.h>

#include "base/simd.h"
#include "math/gemm.h"

/* The right factor: row k lies at p[k·ld]; `sign` times what is `other` numbers
 * further is added, with a sign of 1, −1 or 0 that is known when compiled.  Of pairs
 * (math/pairs.h) row k is half of what lies at p[k/2·ld]. */
typedef struct Right {
  const real *p;
  size_t ld;
  int sign;
  size_t other;
  bool pairs;
} Right;

static inline Right right_rows(const real *p, size_t ld) {
  return (Right){p, ld, 0, 0, false};
}

/* The block of c that is summed in registers has at most so many rows, and so
 * many vectors in a row. */
#define MOST_ROWS 12
#define MOST_VECTORS 2

#ifndef MULTIPLY_ADD
#define MULTIPLY_ADD(sum, factor, part) ((sum) += (factor) * (part))
#endif
#ifndef FACTORS
#define FACTORS 1 /* in a number */
#endif
/* What a kernel that forms products begins with. */
#ifndef KERNEL_BEGINS
#define KERNEL_BEGINS
#endif

/* ---- rows × (vectors·LANES) numbers of c; both are known when compiled ---- */

ALWAYS_INLINE void block(const int rows, const int vectors, size_t k, Left a, Right b,
                         const real *start, real *c, size_t ldc, Prefetch *f) {
  Vector sum[MOST_ROWS][MOST_VECTORS], part[MOST_VECTORS];
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++)
      if (start == c)
        sum[r][v] = CONST_VECTOR_AT(c + (size_t)r * ldc + (size_t)v * LANES);
      else
        sum[r][v] = (Vector){0} + (start ? start[r] : 0);
  const char *later = f ? f->p : NULL;
  const size_t later_step = f ? f->step : 0;
  const bool packed = FACTORS > 1 && !a.pairs;
  for (; k > 0; a.p += a.jump) {
    size_t n = k < a.run ? k : a.run;
    const real *left = a.p, *next = left + (size_t)rows * a.row; /* for the next rows */
    size_t ahead = a.col == 1 ? (size_t)rows : a.col;
    k -= n;
    for (; n > 0; n--, left += a.col, b.p += b.ld, next += ahead) {
      if (rows >= 6 && !packed) __builtin_prefetch(next);
      if (f != NULL) {
        for (int i = 0; i < FACTORS; i++, later += later_step)
          __builtin_prefetch(later, 0, 2); /* as far as the second-level cache */
      }
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) {
        const real *right = b.p + (size_t)v * LANES;
        part[v] = CONST_VECTOR_AT(right);
        if (b.sign > 0) part[v] += CONST_VECTOR_AT(right + b.other);
        if (b.sign < 0) part[v] -= CONST_VECTOR_AT(right + b.other);
      }
#pragma GCC unroll 12
      for (int r = 0; r < rows; r++) {
        real factor = left[(size_t)r * a.row];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) MULTIPLY_ADD(sum[r][v], factor, part[v]);
      }
    }
  }
  if (f != NULL) prefetch_advance(f, later);
#pragma GCC unroll 12
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++)
      VECTOR_AT(c + (size_t)r * ldc + (size_t)v * LANES) = sum[r][v];
}

/* A block when only n of the block's columns exist in c. */
ALWAYS_INLINE void cut_block(const int rows, const int vectors, size_t n, size_t k,
                             Left a, Right b, const real *start, real *c, size_t ldc,
                             Prefetch *f) {
  size_t width = (size_t)vectors * LANES;
  if (n >= width) {
    block(rows, vectors, k, a, b, start, c, ldc, f);
    return;
  }
  real whole[LANES * MOST_ROWS * MOST_VECTORS] = {0};
  for (size_t r = 0; start == c && r < (size_t)rows; r++)
    memcpy(whole + r * width, c + r * ldc, n * sizeof *c);
  block(rows, vectors, k, a, b, start == c ? whole : start, whole, width, f);
  for (size_t r = 0; r < (size_t)rows; r++)
    memcpy(c + r * ldc, whole + r * width, n * sizeof *c);
}

ALWAYS_INLINE void strip(const int rows, const int vectors, size_t m, size_t n, size_t k,
                         Left a, Right b, const real *start, real *c, size_t ldc,
                         Prefetch *f) {
#define ROWS(count)                                                 \
  do {                                                              \
    cut_block((count), vectors, n, k, a, b, start, c, ldc, f);      \
    if (start != NULL) start += start == c ? (count)*ldc : (count); \
    m -= (count), a.p += (count)*a.row, c += (count)*ldc;           \
  } while (0)
  while (m >= (size_t)rows) ROWS((size_t)rows);
  if (rows > 8 && m >= 8) ROWS(8);
  if (rows > 4 && m >= 4) ROWS(4);
  if (rows > 2 && m >= 2) ROWS(2);
  if (m > 0) ROWS(1);
#undef ROWS
}

#ifdef ROUNDED
#include "math/isa/rounded_operands.h"
#else
ALWAYS_INLINE void product_prefetching(const int rows, const int vectors, size_t m,
                                       size_t n, size_t k, Left a, Right b,
                                       const real *start, real *c, size_t ldc,
                                       Prefetch *f) {
  for (size_t j = 0, step; j < n; j += step, b.p += step) {
    const real *from = start == c ? c + j : start;
    step = vectors > 1 && n - j > LANES ? 2 * LANES : LANES;
    if (step > LANES)
      strip(rows, vectors, m, n - j, k, a, b, from, c + j, ldc, f);
    else
      strip(rows, 1, m, n - j, k, a, b, from, c + j, ldc, f);
  }
}
#endif

ALWAYS_INLINE void product(const int rows, const int vectors, size_t m, size_t n,
                           size_t k, Left a, Right b, const real *start, real *c,
                           size_t ldc) {
  product_prefetching(rows, vectors, m, n, k, a, b, start, c, ldc, NULL);
}

void FOR_ISA(product)(PRODUCT_ARGS) {
  KERNEL_BEGINS;
  product(PRODUCT_ROWS, 2, m, n, k, a, right_rows(b, ldb), start, c, ldc);
}

void FOR_ISA(product_prefetching)(PRODUCT_ARGS, Prefetch *f) {
  KERNEL_BEGINS;
  product_prefetching(PRODUCT_ROWS, 2, m, n, k, a, right_rows(b, ldb), start, c, ldc, f);
}

#endif

/* Products and transposes for one instruction set (math/isa/kernels.h). */
#ifndef CGLOW_MATH_ISA_GEMM_KERNELS_H
#define CGLOW_MATH_ISA_GEMM_KERNELS_H

#include <string.h>

#include "math/gemm.h"
#include "base/simd.h"

/* The right factor: row k lies at p[k·ld]; `sign` times what is `other` numbers
 * further is added, with a sign of 1, −1 or 0 that is known when compiled. */
typedef struct Right {
  const real *p;
  size_t ld;
  int sign;
  size_t other;
} Right;

static inline Right right_rows(const real *p, size_t ld) { return (Right){p, ld, 0, 0}; }

/* The block of c that is summed in registers has at most so many rows, and so
 * many vectors in a row. */
#define MOST_ROWS 12
#define MOST_VECTORS 2

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
  for (; k > 0; a.p += a.jump) {
    size_t n = k < a.run ? k : a.run;
    const real *left = a.p, *next = left + (size_t)rows * a.row; /* for the next rows */
    size_t ahead = a.col == 1 ? (size_t)rows : a.col;
    k -= n;
    for (; n > 0; n--, left += a.col, b.p += b.ld, next += ahead) {
      if (rows >= 6) __builtin_prefetch(next);
      if (f != NULL) {
        __builtin_prefetch(later, 0, 2); /* as far as the second-level cache */
        later += later_step;
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
        for (int v = 0; v < vectors; v++) sum[r][v] += factor * part[v];
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

ALWAYS_INLINE void product(const int rows, const int vectors, size_t m, size_t n,
                           size_t k, Left a, Right b, const real *start, real *c,
                           size_t ldc) {
  product_prefetching(rows, vectors, m, n, k, a, b, start, c, ldc, NULL);
}

void FOR_ISA(product)(PRODUCT_ARGS) {
  product(PRODUCT_ROWS, 2, m, n, k, a, right_rows(b, ldb), start, c, ldc);
}

void FOR_ISA(product_prefetching)(PRODUCT_ARGS, Prefetch *f) {
  product_prefetching(PRODUCT_ROWS, 2, m, n, k, a, right_rows(b, ldb), start, c, ldc, f);
}

/* ---- transposes ---- */

#ifndef CGLOW_DOUBLE
/* Exchange, in each pair of rows `s` apart, the lanes that differ in that bit;
 * after all powers of two rows have become columns. */
#define LOW(l, s) ((l) & (s) ? VECTOR_BYTES / 4 + (l) - (s) : (l))
#define HIGH(l, s) ((l) & (s) ? VECTOR_BYTES / 4 + (l) : (l) + (s))
#define FOUR(f, l, s) f(l, s), f((l) + 1, s), f((l) + 2, s), f((l) + 3, s)
#if VECTOR_BYTES == 64
#define EACH(f, s) FOUR(f, 0, s), FOUR(f, 4, s), FOUR(f, 8, s), FOUR(f, 12, s)
#elif VECTOR_BYTES == 32
#define EACH(f, s) FOUR(f, 0, s), FOUR(f, 4, s)
#else
#define EACH(f, s) FOUR(f, 0, s)
#endif
#define EXCHANGE(s)                                \
  for (size_t r = 0; r < LANES; r++)               \
    if (!(r & (s))) {                              \
      Vector x = row[r], y = row[r + (s)];         \
      row[r] = SHUFFLE(x, y, EACH(LOW, s));        \
      row[r + (s)] = SHUFFLE(x, y, EACH(HIGH, s)); \
    }

/* LANES columns from src, of n rows (zeros below), to as many rows of the panel. */
ALWAYS_INLINE void transpose_square(const real *src, size_t ld, size_t n, real *panel) {
  Vector row[LANES];
#pragma GCC unroll 16
  for (size_t r = 0; r < LANES; r++) {
    row[r] = (Vector){0};
    if (r < n) row[r] = CONST_VECTOR_AT(src + r * ld);
  }
#pragma GCC unroll 16
  EXCHANGE(1)
#pragma GCC unroll 16
  EXCHANGE(2)
#if VECTOR_BYTES >= 32
#pragma GCC unroll 16
  EXCHANGE(4)
#endif
#if VECTOR_BYTES >= 64
#pragma GCC unroll 16
  EXCHANGE(8)
#endif
#pragma GCC unroll 16
  for (size_t r = 0; r < LANES; r++) VECTOR_AT(panel + r * PANEL) = row[r];
}
#undef EXCHANGE
#undef EACH
#undef FOUR
#undef HIGH
#undef LOW
#endif

/* As many of the k columns as make whole squares, none in double: their number is
 * returned. */
static size_t transpose_squares(const real *src, size_t ld, size_t k, size_t n,
                                real *panel) {
  size_t at = 0;
#ifdef CGLOW_DOUBLE
  (void)src, (void)ld, (void)k, (void)n, (void)panel;
#else
  for (; at + LANES <= k; at += LANES, src += LANES, panel += LANES * PANEL)
    for (size_t r = 0; r < PANEL; r += LANES)
      transpose_square(src + (r < n ? r : 0) * ld, ld, r < n ? n - r : 0, panel + r);
#endif
  return at;
}

void FOR_ISA(transpose)(TRANSPOSE_ARGS) {
  for (size_t i = transpose_squares(src, ld, k, n, panel); i < k; i++) {
    real *to = panel + i * PANEL;
    for (size_t r = 0; r < PANEL; r++) to[r] = r < n ? src[r * ld + i] : 0;
  }
}

#endif

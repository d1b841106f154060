/* The transpose of a square of float vectors, for one instruction set. */
#ifndef CGLOW_MATH_ISA_TRANSPOSE_SQUARE_H
#define CGLOW_MATH_ISA_TRANSPOSE_SQUARE_H

#include "base/simd.h"
#include "math/gemm.h"

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

#endif

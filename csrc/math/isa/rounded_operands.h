/* Products of operands that are rounded to bfloat16, for one instruction set.
 *
 * Some rows of the right factor are rounded into a buffer, and then, for each block of
 * sums, the rows of the left factor that it reads; math/isa/gemm_kernels.h, which
 * includes this, multiplies what lies there.  With two FACTORS a number there is a pair:
 * two that follow each other along k, the earlier in the upper half.  Otherwise it is a
 * rounded factor in float.  What is below 2^-126 counts as 0, as that processor
 * has it. */

/* Factors along k that are rounded at a time: the buffers stay in the first-level cache.
 */
#define SOME_FACTORS ((size_t)256)
/* Numbers of a row of the left factor there, and of a row of its transpose. */
#define LEFT_ROW (SOME_FACTORS / FACTORS)
#define LEFT_COLUMN ((size_t)16)

#ifdef __AVX512BF16__

/* Pairs of 16 numbers each: those of `first` in the upper halves. */
ALWAYS_INLINE __m512i pairs_of(__m512 first, __m512 second) {
  const __m512i turn =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                       7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(turn, (__m512i)_mm512_cvtne2ps_pbh(first, second));
}

/* The first n of 16 numbers, none if n < 0. */
ALWAYS_INLINE __m512 numbers_at(const real *p, ptrdiff_t n) {
  __mmask16 which = (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
  return _mm512_maskz_loadu_ps(which, p);
}

ALWAYS_INLINE __m512 right_numbers(const Right *b, const real *p) {
  __m512 x = _mm512_loadu_ps(p);
  if (b->sign > 0) x = _mm512_add_ps(x, _mm512_loadu_ps(p + b->other));
  if (b->sign < 0) x = _mm512_sub_ps(x, _mm512_loadu_ps(p + b->other));
  return x;
}

/* k rows of LANES·vectors numbers. */
ALWAYS_INLINE void round_right(const int vectors, size_t k, Right b, real *to) {
  for (size_t i = 0; i < k; i += 2, b.p += 2 * b.ld, to += PANEL)
    for (int v = 0; v < vectors; v++) {
      const real *p = b.p + (size_t)v * LANES;
      __m512 first = right_numbers(&b, p), second = _mm512_setzero_ps();
      if (i + 1 < k) second = right_numbers(&b, p + b.ld);
      _mm512_store_si512(to + (size_t)v * LANES, pairs_of(first, second));
    }
}

/* k factors of each of some rows, whose factors follow each other, to rows `ld` apart. */
ALWAYS_INLINE void round_rows(size_t rows, size_t k, Left a, real *to, size_t ld) {
  for (size_t r = 0; r < rows; r++, a.p += a.row, to += ld) {
    const real *p = a.p;
    for (size_t i = 0, n; i < k; i += n, p += a.jump) {
      n = k - i < a.run ? k - i : a.run;
      for (size_t j = 0; j < n; j += 32) {
        __builtin_prefetch(p + j + rows * a.row); /* what is rounded next */
        __builtin_prefetch(p + j + rows * a.row + 16);
        ptrdiff_t left = (ptrdiff_t)(n - j);
        __m512 x = numbers_at(p + j, left), y = numbers_at(p + j + 16, left - 16);
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(y, x);
        _mm512_storeu_si512(to + (i + j) / 2, _mm512_rol_epi32(both, 16));
      }
    }
  }
}

/* Round columns, where the rows of the factor follow each other. */
ALWAYS_INLINE void round_columns(size_t rows, size_t k, Left a, real *to) {
  const real *p = a.p;
  for (size_t i = 0, n; i < k; i += n, p += a.jump) {
    n = k - i < a.run ? k - i : a.run;
    const real *column = p;
    for (size_t j = 0; j < n; j += 2, column += 2 * a.col, to += LEFT_COLUMN) {
      ptrdiff_t second = j + 1 < n ? (ptrdiff_t)rows : 0;
      _mm512_store_si512(to, pairs_of(numbers_at(column, (ptrdiff_t)rows),
                                      numbers_at(column + a.col, second)));
    }
  }
}

#else

static inline uint32_t rounded_bits(real x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  uint32_t up = bits + 0x7fff + ((bits >> 16) & 1);
  uint32_t size = bits & 0x7fffffff, nan = bits | 0x400000, zero = bits & 0x80000000;
  return (size > 0x7f800000 ? nan : size < 0x00800000 ? zero : up) & 0xffff0000;
}

/* A number of the buffer; `second` counts if it holds two. */
static inline real number_of(real first, real second) {
  uint32_t bits = rounded_bits(first);
  if (FACTORS == 2) bits |= rounded_bits(second) >> 16;
  real number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

static inline real right_number(const Right *b, const real *p) {
  return b->sign > 0 ? *p + p[b->other] : b->sign < 0 ? *p - p[b->other] : *p;
}

ALWAYS_INLINE void round_right(const int vectors, size_t k, Right b, real *to) {
  for (size_t i = 0; i < k; i += FACTORS, b.p += FACTORS * b.ld, to += PANEL)
    for (size_t l = 0; l < (size_t)vectors * LANES; l++)
      to[l] = number_of(right_number(&b, b.p + l),
                        i + 1 < k ? right_number(&b, b.p + b.ld + l) : 0);
}

ALWAYS_INLINE void round_rows(size_t rows, size_t k, Left a, real *to, size_t ld) {
  for (; rows > 0; rows--, a.p += a.row, to += ld) {
    const real *p = a.p;
    for (size_t i = 0, n; i < k; i += n, p += a.jump) {
      n = k - i < a.run ? k - i : a.run;
      for (size_t j = 0; j < n; j += FACTORS)
        to[(i + j) / FACTORS] = number_of(p[j], j + 1 < n ? p[j + 1] : 0);
    }
  }
}

ALWAYS_INLINE void round_columns(size_t rows, size_t k, Left a, real *to) {
  const real *p = a.p;
  for (size_t i = 0, n; i < k; i += n, p += a.jump) {
    n = k - i < a.run ? k - i : a.run;
    for (size_t j = 0; j < n; j += FACTORS, to += LEFT_COLUMN)
      for (size_t r = 0; r < rows; r++)
        to[r] = number_of(p[j * a.col + r], j + 1 < n ? p[(j + 1) * a.col + r] : 0);
  }
}

#endif

#ifdef TILES
#include "math/isa/tile_products.h"
#else

typedef struct Rounded {
  _Alignas(64) real right[SOME_FACTORS / FACTORS * PANEL];
  _Alignas(64) real left[LEFT_COLUMN * LEFT_ROW + LANES];
} Rounded;

/* The left factor of a block of sums, in the buffer. */
ALWAYS_INLINE Left round_left(size_t rows, size_t k, Left a, real *to) {
  if (a.col == 1) {
    round_rows(rows, k, a, to, LEFT_ROW);
    return left_rows(to, LEFT_ROW);
  }
  round_columns(rows, k, a, to);
  return left_columns(to, LEFT_COLUMN);
}

/* As strip (math/isa/gemm_kernels.h), of rounded operands; b has been rounded.  Rows that
 * follow each other are rounded for two blocks at a time. */
ALWAYS_INLINE void rounded_strip(const int rows, const int vectors, size_t m, size_t n,
                                 size_t k, Left a, Right b, const real *start, real *c,
                                 size_t ldc, real *left, Prefetch *f) {
  const size_t numbers = (k + FACTORS - 1) / FACTORS;
  const size_t most = a.col != 1 && rows <= 8 ? 2 * (size_t)rows : (size_t)rows;
  if (FACTORS == 2 && a.pairs) {
    strip(rows, vectors, m, n, numbers, a, b, start, c, ldc, f);
    return;
  }
  for (size_t some; m > 0; m -= some, a.p += some * a.row, c += some * ldc) {
    some = m < most ? m : most;
    strip(rows, vectors, some, n, numbers, round_left(some, k, a, left), b, start, c, ldc,
          f);
    if (start != NULL) start += start == c ? some * ldc : some;
  }
}

/* To a factor that begins a run, or lies in the only one. */
static inline size_t left_step(const Left *a, size_t k) {
  return a->run > k ? k * a->col : k / a->run * a->jump;
}

ALWAYS_INLINE void product_prefetching(const int rows, const int vectors, size_t m,
                                       size_t n, size_t k, Left a, Right b,
                                       const real *start, real *c, size_t ldc,
                                       Prefetch *f) {
  Rounded to;
  const size_t whole = (size_t)vectors * LANES;
  for (size_t j = 0, step; j < n; j += step, b.p += step) {
    const real *from = start == c ? c + j : start;
    Left rows_of = a;
    Right right = b;
    step = n - j > LANES ? whole : LANES;
    for (size_t i = 0, some; i < k || i == 0; i += some, from = c + j) {
      some = k - i < SOME_FACTORS ? k - i : SOME_FACTORS;
      if (!b.pairs) round_right(step > LANES ? vectors : 1, some, right, to.right);
      Right panel = right_rows(b.pairs ? right.p : to.right, b.pairs ? b.ld : PANEL);
      if (step > LANES)
        rounded_strip(rows, vectors, m, n - j, some, rows_of, panel, from, c + j, ldc,
                      to.left, f);
      else
        rounded_strip(rows, 1, m, n - j, some, rows_of, panel, from, c + j, ldc, to.left,
                      f);
      right.p += (b.pairs ? some / 2 : some) * b.ld;
      rows_of.p += left_step(&a, a.pairs ? some / 2 : some);
      if (some == 0) break;
    }
  }
}

#endif

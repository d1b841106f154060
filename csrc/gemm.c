#include "gemm.h"

#include <string.h>

#include "vector.h"

/* The block of c that is summed in registers has at most so many rows, and so
 * many vectors in a row. */
#define MOST_ROWS 8
#define MOST_VECTORS 2

/* ---- rows × (vectors·LANES) numbers of c; both are known when compiled ---- */

ALWAYS_INLINE void block(const int rows, const int vectors, size_t k, Left a,
                         const real *b, size_t ldb, const real *start, real *c,
                         size_t ldc) {
  Vector sum[MOST_ROWS][MOST_VECTORS], part[MOST_VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++)
      if (start == c)
        sum[r][v] = CONST_VECTOR_AT(c + (size_t)r * ldc + (size_t)v * LANES);
      else
        sum[r][v] = (Vector){0} + (start ? start[r] : 0);
  for (; k > 0; a.p += a.jump) {
    size_t n = k < a.run ? k : a.run;
    const real *left = a.p, *next = left + (size_t)rows * a.row; /* for the next rows */
    size_t ahead = a.col == 1 ? (size_t)rows : a.col;
    k -= n;
    for (; n > 0; n--, left += a.col, b += ldb, next += ahead) {
      if (rows == MOST_ROWS) __builtin_prefetch(next);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) part[v] = CONST_VECTOR_AT(b + (size_t)v * LANES);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        real factor = left[(size_t)r * a.row];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[r][v] += factor * part[v];
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++)
      VECTOR_AT(c + (size_t)r * ldc + (size_t)v * LANES) = sum[r][v];
}

/* The same when only n of the block's columns exist in c. */
ALWAYS_INLINE void cut_block(const int rows, const int vectors, size_t n, size_t k,
                             Left a, const real *b, size_t ldb, const real *start,
                             real *c, size_t ldc) {
  size_t width = (size_t)vectors * LANES;
  if (n >= width) {
    block(rows, vectors, k, a, b, ldb, start, c, ldc);
    return;
  }
  real whole[LANES * MOST_ROWS * MOST_VECTORS] = {0};
  for (size_t r = 0; start == c && r < (size_t)rows; r++)
    memcpy(whole + r * width, c + r * ldc, n * sizeof *c);
  block(rows, vectors, k, a, b, ldb, start == c ? whole : start, whole, width);
  for (size_t r = 0; r < (size_t)rows; r++)
    memcpy(c + r * ldc, whole + r * width, n * sizeof *c);
}

ALWAYS_INLINE void strip(const int rows, const int vectors, size_t m, size_t n, size_t k,
                         Left a, const real *b, size_t ldb, const real *start, real *c,
                         size_t ldc) {
#define ROWS(count)                                                 \
  do {                                                              \
    cut_block((count), vectors, n, k, a, b, ldb, start, c, ldc);    \
    if (start != NULL) start += start == c ? (count)*ldc : (count); \
    m -= (count), a.p += (count)*a.row, c += (count)*ldc;           \
  } while (0)
  while (m >= (size_t)rows) ROWS((size_t)rows);
  if (rows > 4 && m >= 4) ROWS(4);
  if (rows > 2 && m >= 2) ROWS(2);
  if (m > 0) ROWS(1);
#undef ROWS
}

ALWAYS_INLINE void product(const int rows, const int vectors, size_t m, size_t n,
                           size_t k, Left a, const real *b, size_t ldb, const real *start,
                           real *c, size_t ldc) {
  for (size_t j = 0, step; j < n; j += step) {
    const real *from = start == c ? c + j : start;
    step = vectors > 1 && n - j > LANES ? 2 * LANES : LANES;
    if (step > LANES)
      strip(rows, vectors, m, n - j, k, a, b + j, ldb, from, c + j, ldc);
    else
      strip(rows, 1, m, n - j, k, a, b + j, ldb, from, c + j, ldc);
  }
}

#define PRODUCT_ARGS                                                                  \
  size_t m, size_t n, size_t k, Left a, const real *b, size_t ldb, const real *start, \
      real *c, size_t ldc

/* As many sums as the processor's registers hold. */
#if HAVE_CLONES
__attribute__((target("arch=x86-64-v4"))) static void product_v4(PRODUCT_ARGS) {
  product(8, 2, m, n, k, a, b, ldb, start, c, ldc);
}

__attribute__((target("arch=x86-64-v3"))) static void product_v3(PRODUCT_ARGS) {
  product(4, 1, m, n, k, a, b, ldb, start, c, ldc);
}
#endif

static void product_any(PRODUCT_ARGS) {
  product(2, 1, m, n, k, a, b, ldb, start, c, ldc);
}

#ifdef CGLOW_REFERENCE
static int level_limit = 4;
void gemm_limit_level(int level) { level_limit = level; }
#define LEVEL_ALLOWED(n) ((n) <= level_limit)
#else
#define LEVEL_ALLOWED(n) true
#endif

void panel_product(PRODUCT_ARGS) {
#if HAVE_CLONES
  if (LEVEL_ALLOWED(4) && __builtin_cpu_supports("x86-64-v4")) {
    product_v4(m, n, k, a, b, ldb, start, c, ldc);
    return;
  }
  if (LEVEL_ALLOWED(3) && __builtin_cpu_supports("x86-64-v3")) {
    product_v3(m, n, k, a, b, ldb, start, c, ldc);
    return;
  }
#endif
  product_any(m, n, k, a, b, ldb, start, c, ldc);
}

/* ---- panels ---- */

void panel_pack(const real *src, size_t ld, size_t k, size_t n, real *panel) {
  for (; k > 0; k--, src += ld, panel += PANEL) {
    if (n == PANEL) {
      memcpy(panel, src, PANEL * sizeof *panel);
      continue;
    }
    memcpy(panel, src, n * sizeof *panel);
    memset(panel + n, 0, (PANEL - n) * sizeof *panel);
  }
}

static void transpose_any(const real *src, size_t ld, size_t k, size_t n, real *panel) {
  for (size_t i = 0; i < k; i++, panel += PANEL) {
    for (size_t r = 0; r < n; r++) panel[r] = src[r * ld + i];
    for (size_t r = n; r < PANEL; r++) panel[r] = 0;
  }
}

#if HAVE_CLONES && !defined(CGLOW_DOUBLE)
/* Exchange, in each pair of rows `s` apart, the lanes that differ in that bit;
 * after the four powers of two rows have become columns. */
#define LOW(l, s) ((l) & (s) ? 16 + (l) - (s) : (l))
#define HIGH(l, s) ((l) & (s) ? 16 + (l) : (l) + (s))
#define FOUR(f, l, s) f(l, s), f(l + 1, s), f(l + 2, s), f(l + 3, s)
#define SIXTEEN(f, s) \
  { FOUR(f, 0, s), FOUR(f, 4, s), FOUR(f, 8, s), FOUR(f, 12, s) }
#define EXCHANGE(s)                                                   \
  for (int r = 0; r < 16; r++)                                        \
    if (!(r & (s))) {                                                 \
      Vector x = row[r], y = row[r + (s)];                            \
      row[r] = __builtin_shuffle(x, y, (Mask)SIXTEEN(LOW, s));        \
      row[r + (s)] = __builtin_shuffle(x, y, (Mask)SIXTEEN(HIGH, s)); \
    }

/* 16 columns from src, of n rows (zeros below), to 16 rows of the panel. */
__attribute__((target("arch=x86-64-v4"))) static void transpose_16(const real *src,
                                                                   size_t ld, size_t n,
                                                                   real *panel) {
  Vector row[16];
#pragma GCC unroll 16
  for (size_t r = 0; r < 16; r++) {
    row[r] = (Vector){0};
    if (r < n) row[r] = CONST_VECTOR_AT(src + r * ld);
  }
#pragma GCC unroll 16
  EXCHANGE(1)
#pragma GCC unroll 16
  EXCHANGE(2)
#pragma GCC unroll 16
  EXCHANGE(4)
#pragma GCC unroll 16
  EXCHANGE(8)
#pragma GCC unroll 16
  for (size_t r = 0; r < 16; r++) VECTOR_AT(panel + r * PANEL) = row[r];
}
#undef EXCHANGE

static bool transpose_fast(const real **src, size_t ld, size_t *k, size_t n,
                           real **panel) {
  if (!__builtin_cpu_supports("x86-64-v4")) return false;
  for (; *k >= 16; *k -= 16, *src += 16, *panel += 16 * PANEL) {
    transpose_16(*src, ld, n, *panel);
    transpose_16(*src + 16 * ld, ld, n > 16 ? n - 16 : 0, *panel + 16);
  }
  return true;
}
#endif

void panel_transpose(const real *src, size_t ld, size_t k, size_t n, real *panel) {
#if HAVE_CLONES && !defined(CGLOW_DOUBLE)
  transpose_fast(&src, ld, &k, n, &panel);
#endif
  transpose_any(src, ld, k, n, panel);
}

/* ---- any product ---- */

/* Rows of a panel that fit the first-level cache beside the rest, and panels
 * that are packed together, so that long rows are read in longer pieces. */
#define PANEL_ROWS 128
#define GROUP ((size_t)4)
/* With so few rows a panel is not worth its copy. */
#define FEW_ROWS 16

/* k rows of op(B), n ≤ GROUP·PANEL columns, in panels one after the other. */
static void pack_group(Trans tb, const real *b, size_t ldb, size_t k, size_t n,
                       real *panels) {
  size_t whole = tb == NO_TRANS ? n / PANEL : 0, at = whole * PANEL;
  for (size_t i = 0; whole > 0 && i < k; i++)
    for (size_t q = 0; q < whole; q++)
      memcpy(panels + (q * k + i) * PANEL, b + i * ldb + q * PANEL, PANEL * sizeof *b);
  for (; at < n; at += PANEL) {
    size_t width = n - at < PANEL ? n - at : PANEL;
    if (tb == NO_TRANS)
      panel_pack(b + at, ldb, k, width, panels + at * k);
    else
      panel_transpose(b + at * ldb, ldb, k, width, panels + at * k);
  }
}

void gemm(Trans ta, Trans tb, size_t m, size_t n, size_t k, const real *a, size_t lda,
          const real *b, size_t ldb, const real *start, real *c, size_t ldc) {
  real panels[GROUP * PANEL_ROWS * PANEL];
  size_t step = GROUP * PANEL;
  if (tb == NO_TRANS && m <= FEW_ROWS) { /* straight from B, but for its last columns */
    Left left = ta == NO_TRANS ? left_rows(a, lda) : left_columns(a, lda);
    for (; n >= PANEL; n -= PANEL, b += PANEL, c += PANEL) {
      panel_product(m, PANEL, k, left, b, ldb, start, c, ldc);
      if (start == c) start += PANEL;
    }
  }
  for (size_t j = 0; j < n; j += step) {
    size_t columns = n - j < step ? n - j : step;
    for (size_t i = 0, rows; i < k; i += rows) {
      rows = k - i < PANEL_ROWS ? k - i : PANEL_ROWS;
      Left left = ta == NO_TRANS ? left_rows(a + i, lda) : left_columns(a + i * lda, lda);
      pack_group(tb, tb == NO_TRANS ? b + i * ldb + j : b + j * ldb + i, ldb, rows,
                 columns, panels);
      for (size_t at = 0; at < columns; at += PANEL) {
        real *to = c + j + at;
        panel_product(m, columns - at < PANEL ? columns - at : PANEL, rows, left,
                      panels + at * rows, PANEL, i > 0 || start == c ? to : start, to,
                      ldc);
      }
    }
  }
}

#include "gemm.h"

#include <string.h>

#include "gemm_block.h"

#define PRODUCT_ARGS                                                                  \
  size_t m, size_t n, size_t k, Left a, const real *b, size_t ldb, const real *start, \
      real *c, size_t ldc

/* As many sums as the processor's registers hold. */
#if HAVE_CLONES
__attribute__((target("arch=x86-64-v4"))) static void product_v4(PRODUCT_ARGS) {
  product(8, 2, m, n, k, a, right_rows(b, ldb), start, c, ldc);
}

__attribute__((target("arch=x86-64-v4"))) static void product_fetching_v4(PRODUCT_ARGS,
                                                                          Fetch *f) {
  product_fetching(8, 2, m, n, k, a, right_rows(b, ldb), start, c, ldc, f);
}

__attribute__((target("arch=x86-64-v3"))) static void product_v3(PRODUCT_ARGS) {
  product(4, 1, m, n, k, a, right_rows(b, ldb), start, c, ldc);
}
#endif

static void product_any(PRODUCT_ARGS) {
  product(2, 1, m, n, k, a, right_rows(b, ldb), start, c, ldc);
}

#ifdef CGLOW_REFERENCE
static int level_limit = 4;
void gemm_limit_level(int level) { level_limit = level; }
#else
#define level_limit 4
#endif

int gemm_level(void) {
#if HAVE_CLONES
  if (level_limit >= 4 && __builtin_cpu_supports("x86-64-v4")) return 4;
  if (level_limit >= 3 && __builtin_cpu_supports("x86-64-v3")) return 3;
#endif
  return 1;
}

void panel_product(PRODUCT_ARGS) { BY_LEVEL(product, m, n, k, a, b, ldb, start, c, ldc); }

void panel_product_fetching(PRODUCT_ARGS, Fetch *f) {
#if HAVE_CLONES
  if (f->step > 0 && gemm_level() == 4) {
    product_fetching_v4(m, n, k, a, b, ldb, start, c, ldc, f);
    return;
  }
#else
  (void)f;
#endif
  panel_product(m, n, k, a, b, ldb, start, c, ldc);
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
    if (n > 16)
      transpose_16(*src + 16 * ld, ld, n - 16, *panel + 16);
    else
      for (size_t i = 0; i < 16; i++)
        memset(*panel + i * PANEL + 16, 0, 16 * sizeof **panel);
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

/* Products cut into panels. */
#include "math/gemm.h"

#include <string.h>

void panel_product(Precision how, PRODUCT_ARGS) {
  BY_PRECISION(how, product)(m, n, k, a, b, ldb, start, c, ldc);
}

void panel_product_prefetching(Precision how, PRODUCT_ARGS, Prefetch *f) {
  if (f->step > 0)
    BY_PRECISION(how, product_prefetching)(m, n, k, a, b, ldb, start, c, ldc, f);
  else
    panel_product(how, m, n, k, a, b, ldb, start, c, ldc);
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

void panel_transpose(TRANSPOSE_ARGS) { BY_ISA(transpose)(src, ld, k, n, panel); }

/* ---- any product ---- */

/* Rows of a panel that fit the first-level cache beside the rest, and panels
 * that are packed together, so that long rows are read in longer pieces. */
#define PANEL_ROWS 128
#define GROUP ((size_t)4)
/* With so few rows a panel is not worth its copy. */
#define UNPACKED_ROWS 16

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

void gemm(Precision how, Trans ta, Trans tb, size_t m, size_t n, size_t k, const real *a,
          size_t lda, const real *b, size_t ldb, const real *start, real *c, size_t ldc) {
  real panels[GROUP * PANEL_ROWS * PANEL];
  size_t step = GROUP * PANEL;
  bool copied = how == PRECISION_BF16; /* what is rounded is, anyway */
  if (tb == NO_TRANS &&
      (copied || m <= UNPACKED_ROWS)) { /* straight from B, but for its last columns */
    Left left = ta == NO_TRANS ? left_rows(a, lda) : left_columns(a, lda);
    for (; n >= PANEL; n -= PANEL, b += PANEL, c += PANEL) {
      panel_product(how, m, PANEL, k, left, b, ldb, start, c, ldc);
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
        panel_product(how, m, columns - at < PANEL ? columns - at : PANEL, rows, left,
                      panels + at * rows, PANEL, i > 0 || start == c ? to : start, to,
                      ldc);
      }
    }
  }
}

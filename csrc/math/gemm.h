/* Matrix products for the kernels of this library, row-major.
 *
 * Right factors are cut into panels of PANEL columns: a panel is [k][PANEL],
 * contiguous, and stays in the first-level cache while rows of the left factor
 * pass by; as many of them as fit, times a panel or half of one, are summed in
 * registers.  Kernels that produce and consume panels (flow/coupling/coupling.c) call
 * panel_product themselves and copy nothing; gemm() is for everything else. */
#ifndef CGLOW_MATH_GEMM_H
#define CGLOW_MATH_GEMM_H

#include "base/isa.h"
#include "base/prefetch.h"

#define PANEL ((size_t)32)

/* How many of `all` columns lie in panel b. */
static inline size_t panel_columns(size_t all, size_t b) {
  return all - b * PANEL < PANEL ? all - b * PANEL : PANEL;
}

/* The left factor; row or col is 1, and run even or all: element (i, k) lies at p[i·row +
 * k·col] for k < run, and another run begins every `jump` numbers.  Of pairs
 * (math/pairs.h) it is half of what lies at p[i·row + k/2·col] for k/2 < run. */
typedef struct Left {
  const real *p;
  size_t row, col, run, jump;
  bool pairs;
} Left;

static inline Left left_rows(const real *p, size_t ld) {
  return (Left){p, ld, 1, SIZE_MAX, 0, false};
}
/* The transpose of a row-major matrix. */
static inline Left left_columns(const real *p, size_t ld) {
  return (Left){p, 1, ld, SIZE_MAX, 0, false};
}
/* Rows of a matrix that lies in panels of `rows` rows, `width` of each counting. */
static inline Left left_panels(const real *p, size_t rows, size_t width) {
  return (Left){p, PANEL, 1, width, rows * PANEL, false};
}

/* c = start + a·b: m×k times k×n, n ≤ PANEL.  start is NULL for 0, c itself to
 * add to it, or a number for each row.  Products are added one k after the other,
 * so a sum may be cut anywhere and gives the same bits.  Rows of b are ldb apart and
 * readable up to the next PANEL numbers. */
#define PRODUCT_ARGS                                                                  \
  size_t m, size_t n, size_t k, Left a, const real *b, size_t ldb, const real *start, \
      real *c, size_t ldc
void panel_product(Precision how, PRODUCT_ARGS);
PRODUCT_KERNEL(void, product, (PRODUCT_ARGS));

/* A product of so many rows and columns has at least so many rounds. */
static inline size_t product_rounds(size_t m, size_t n, size_t k) {
  return (m + 7) / 8 * ((n + PANEL - 1) / PANEL) * k;
}

/* As panel_product, and prefetch meanwhile: f goes on by what was fetched; a step of 0
 * fetches nothing. */
void panel_product_prefetching(Precision how, PRODUCT_ARGS, Prefetch *f);
PRODUCT_KERNEL(void, product_prefetching, (PRODUCT_ARGS, Prefetch *f));

/* Panel from n ≤ PANEL columns of a row-major matrix; zeros fill it up. */
void panel_pack(const real *src, size_t ld, size_t k, size_t n, real *panel);
/* Panel from the transpose: panel[i][r] = src[r·ld + i] for i < k, r < n. */
#define TRANSPOSE_ARGS const real *src, size_t ld, size_t k, size_t n, real *panel
void panel_transpose(TRANSPOSE_ARGS);
ISA_KERNEL(void, transpose, (TRANSPOSE_ARGS));

typedef enum { NO_TRANS, TRANS } Trans;

/* C = start + op(A)·op(B), start as above; m×k times k×n; lda, ldb, ldc are row
 * lengths. */
void gemm(Precision how, Trans ta, Trans tb, size_t m, size_t n, size_t k, const real *a,
          size_t lda, const real *b, size_t ldb, const real *start, real *c, size_t ldc);

#endif

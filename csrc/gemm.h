/* C = alpha·op(A)·op(B) + beta·C, row-major, by BLAS in either precision.
 * m×k times k×n; lda, ldb, ldc are row lengths. */
#ifndef CGLOW_GEMM_H
#define CGLOW_GEMM_H

#include <cblas.h>

#include "real.h"

typedef enum { NO_TRANS = CblasNoTrans, TRANS = CblasTrans } Trans;

static inline void gemm(Trans ta, Trans tb, size_t m, size_t n, size_t k,
                        const real *a, size_t lda, const real *b, size_t ldb,
                        real beta, real *c, size_t ldc) {
#ifdef CGLOW_DOUBLE
  cblas_dgemm(
#else
  cblas_sgemm(
#endif
      CblasRowMajor, (enum CBLAS_TRANSPOSE)ta, (enum CBLAS_TRANSPOSE)tb, (int)m,
      (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

#endif

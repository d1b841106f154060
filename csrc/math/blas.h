/* The product of math/gemm.h by BLAS, for big plain matrices: fully connected layers
 * of many samples. */
#ifndef CGLOW_MATH_BLAS_H
#define CGLOW_MATH_BLAS_H

#include <cblas.h>

#include "math/gemm.h"

static inline enum CBLAS_TRANSPOSE blas_trans(Trans t) {
  return t == TRANS ? CblasTrans : CblasNoTrans;
}

static inline void blas_gemm(Trans ta, Trans tb, size_t m, size_t n, size_t k,
                             const real *a, size_t lda, const real *b, size_t ldb,
                             real beta, real *c, size_t ldc) {
#ifdef CGLOW_DOUBLE
  cblas_dgemm(
#else
  cblas_sgemm(
#endif
      CblasRowMajor, blas_trans(ta), blas_trans(tb), (int)m, (int)n, (int)k, 1, a,
      (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

#endif

/* LU factorisation with partial pivoting, in double whatever `real` is: the
 * log-determinant and the inverse of an invertible 1×1 convolution. */
#ifndef CGLOW_MATH_LU_H
#define CGLOW_MATH_LU_H

#include <stdbool.h>
#include <stddef.h>

/* a (n×n, row-major) becomes L and U of the row-permuted matrix; pivot[i] is
 * the row exchanged with row i.  Returns log|det a|; −inf when singular. */
double lu_factor(double *a, size_t *pivot, size_t n);

/* inverse = a⁻¹ from lu_factor's result. */
void lu_inverse(const double *lu, const size_t *pivot, size_t n, double *inverse);

/* 1-norm of a matrix, the largest column sum. */
double matrix_norm1(const double *a, size_t n);

#endif

/* Products of matrices, one or many, on all threads. */
#ifndef CGLOW_MATH_MATMUL_H
#define CGLOW_MATH_MATMUL_H

#include "base/real.h"

/* out, count·m·n = a·b for matrices m×k and k×n in the last two dimensions of shapes
 * that are broadcast over the first two (math/broadcast.h), which `count` pairs of
 * indices run through.  Sums run over k in an order that depends on the shapes alone. */
void matmul(real *out, const real *a, const size_t adim[4], const real *b,
            const size_t bdim[4]);

#endif

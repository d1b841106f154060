/* Number by number between arrays of different shapes.
 *
 * Shapes are four sizes, row-major.  They go together where each size of one is that of
 * the other, or 1: then its numbers serve all of the other's places. */
#ifndef CGLOW_MATH_BROADCAST_H
#define CGLOW_MATH_BROADCAST_H

#include "math/elementwise.h"

/* The shape that both stretch to; false where they do not go together. */
bool broadcast_shape(const size_t a[4], const size_t b[4], size_t out[4]);

/* out, of that shape, = a op b.  out may be an operand of that shape, but must not
 * overlap one in any other way. */
void broadcast(const Binary *op, real *out, const real *a, const size_t adim[4],
               const real *b, const size_t bdim[4]);

/* Where the numbers at index i of the first two dimensions begin, i counted through both
 * of the shape `all`; `inner` numbers belong to each pair of indices. */
size_t broadcast_offset(const size_t dim[4], const size_t all[4], size_t i, size_t inner);

#endif

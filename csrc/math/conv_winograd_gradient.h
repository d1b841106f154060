/* The filters' gradient of math/conv_winograd.h, piece by piece. */
#ifndef CGLOW_MATH_CONV_WINOGRAD_GRADIENT_H
#define CGLOW_MATH_CONV_WINOGRAD_GRADIENT_H

#include "math/conv_winograd_squares.h"
#include "math/filters3x3.h"

/* How the sum over squares is cut: in parts, by the problem alone; and in pieces of
 * filters, which cut no sum, so that they may depend on the threads. */
typedef struct FiltersSum {
  Precision how;
  const Act *in, *dout;
  FiltersTarget to;
  Cut t;
  size_t parts, rows; /* of squares in a part */
  size_t blocks;      /* panels of channels in a piece, either way, at most */
  size_t ins, outs;   /* pieces */
  real *sums;         /* of each part, where there are several */
  real *largest;      /* in each piece of dw that is done */
  real *threads;      /* scratch of each thread */
} FiltersSum;

size_t filters_sum_room(const Act *in, const Act *dout, int threads);
FiltersSum filters_sum(Precision how, const Act *in, const Act *dout, FiltersTarget to,
                       real *scratch, int threads);

/* First all pieces; then, where there are parts, they are joined. */
size_t filters_sum_pieces(const FiltersSum *s);
void filters_sum_piece(const FiltersSum *s, size_t i);
size_t filters_sum_joins(const FiltersSum *s);
void filters_sum_join(const FiltersSum *s, size_t i);
/* In the end. */
real filters_sum_largest(const FiltersSum *s);

#endif

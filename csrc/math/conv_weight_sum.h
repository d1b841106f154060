/* The gradient of a plain convolution's weight, piece by piece. */
#ifndef CGLOW_MATH_CONV_WEIGHT_SUM_H
#define CGLOW_MATH_CONV_WEIGHT_SUM_H

#include "math/conv_geometry.h"
#include "math/conv_tiles.h"

/* Where a weight gradient goes: dw = beta·dw + …, its rows ldw apart; db likewise unless
 * NULL. */
typedef struct GradientTarget {
  real *dw;
  size_t ldw;
  real *db, weight_beta, bias_beta;
} GradientTarget;

/* How the sum over pixels is cut: in parts, by the problem alone; and in pieces of the
 * weight, which cut no sum, so that they may depend on the threads. */
typedef struct WeightSum {
  const Act *in, *dout;
  const ConvGeometry *g;
  GradientTarget to;
  Tiling t;
  size_t parts;
  bool direct;          /* the only part goes where the gradient does */
  size_t few, ins;      /* input channels of a piece; pieces */
  size_t some, outs;    /* output channels of a piece; pieces */
  size_t count, stride; /* numbers of dw; of a part */
  real *sums;           /* of each part */
  real *largest;        /* in each piece of dw that is done */
  real *threads;        /* scratch of each thread */
  size_t own, total;    /* reals: of a thread; of all scratch */
} WeightSum;

/* scratch: NULL, only to know `total`. */
WeightSum weight_sum(const Act *in, const ConvGeometry *g, const Act *dout,
                     GradientTarget to, real *scratch, int threads);

/* Reals of scratch for any gradient of a convolution's weight, with columns or without.
 */
size_t conv_weight_sum_room(const ConvGeometry *g, const Act *in, const Act *out,
                            int threads);

/* First all pieces; then, where there are parts, they are joined. */
static inline size_t weight_sum_pieces(const WeightSum *s) {
  return s->parts * s->ins * s->outs;
}
void weight_sum_piece(const WeightSum *s, size_t i);
size_t weight_sum_joins(const WeightSum *s);
void weight_sum_join(const WeightSum *s, size_t i);
/* In the end: the largest magnitude. */
real weight_sum_largest(const WeightSum *s);

/* Pieces and joins by a team; returns the largest magnitude. */
real weight_sum_all(const WeightSum *s, int threads);

double conv_sum_of(const real *p, size_t n);

#endif

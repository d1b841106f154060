/* Kernels over contiguous numbers: elementwise, reductions, rearrangement.
 * Serial and plain; sums are formed in double. */
#ifndef CGLOW_MATH_ELEMENTWISE_H
#define CGLOW_MATH_ELEMENTWISE_H

#include <stdbool.h>

#include "base/real.h"

/* out[i] = a[i] op b[i], with either side a number too.  out may be a or b
 * themselves, but must not overlap them in any other way. */
typedef struct Binary {
  void (*tensor_tensor)(real *out, const real *a, const real *b, size_t n);
  void (*tensor_number)(real *out, const real *a, real b, size_t n);
  void (*number_tensor)(real *out, real a, const real *b, size_t n);
} Binary;

extern const Binary binary_add, binary_sub, binary_mul, binary_div;
extern const Binary binary_pow;
/* 1 where it holds and 0 where not; nothing but ne holds for NaN. */
extern const Binary binary_gt, binary_ge, binary_lt, binary_le, binary_eq, binary_ne;

typedef void Unary(real *out, const real *a, size_t n);

Unary unary_neg, unary_exp, unary_log, unary_abs, unary_sqrt;
Unary unary_round; /* halves away from zero */
Unary unary_floor;
Unary unary_sign;                /* −1, 0 or 1; NaN stays */
Unary unary_tanh, unary_sigmoid; /* the same bits on every processor */
/* NaN stays NaN. */
void clamp_range(real *out, const real *a, real lo, real hi, size_t n);

void fill_range(real *out, real v, size_t n);
/* y += scale·x; y may be x. */
void axpy_range(real *y, const real *x, real scale, size_t n);

/* out[count] = beta·out + parts, which lie `stride` apart, in their order; beta is 0
 * or 1. */
void join_range(const real *parts, size_t stride, size_t count, size_t nparts, real beta,
                real *out);
/* The same by threads, for many numbers. */
void join_parts(const real *parts, size_t stride, size_t count, size_t nparts, real beta,
                real *out, int threads);

double reduce_sum(const real *a, size_t n);
/* Sum of (a − centre)². */
double reduce_squares(const real *a, double centre, size_t n);
bool all_finite(const real *a, size_t n);
/* The largest magnitude in `rows` rows of n numbers, ld apart; infinite when one is not
 * finite. */
real largest_magnitude(const real *a, size_t rows, size_t n, size_t ld);
/* Where the largest number is, or the smallest, the first of several; or the first NaN.
 */
size_t extreme_place(const real *a, size_t n, bool largest);
bool all_equal(const real *a, const real *b, size_t n);

/* What a reader wants to know first; min, max and mean are those of the finite
 * numbers and meaningless when there is none. */
typedef struct Summary {
  double min, max, mean;
  size_t finite, nan, inf;
} Summary;
Summary summarise(const real *a, size_t n);

/* Reductions of the middle one of outer×len×inner to outer×inner. */
void sum_axis(real *out, const real *a, size_t outer, size_t len, size_t inner,
              double scale);
/* Reductions by squares: of numbers or, centred, of their distances from the mean; times
 * scale; with `root`, the root of that. */
typedef struct Squares {
  bool centred, root;
  double scale;
} Squares;
void squares_axis(real *out, const real *a, size_t outer, size_t len, size_t inner,
                  Squares s);
/* The extreme value and its index from 0 on: the first one when several are
 * equal; NaN counts as more extreme than any number. */
void max_axis(real *value, real *index, const real *a, size_t outer, size_t len,
              size_t inner);
void min_axis(real *value, real *index, const real *a, size_t outer, size_t len,
              size_t inner);

/* out = a with its dimensions in another order: dimension i of out is
 * dimension order[i] of a, which has `dim` and 4 dimensions. */
void permute4(real *out, const real *a, const size_t dim[4], const int order[4]);

#endif

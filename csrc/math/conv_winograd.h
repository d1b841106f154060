/* 3×3 convolutions with stride 1 and padding 1 between many channels, by Winograd's
 * F(4×4, 3×3).
 *
 *   Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A      (Lavin & Gray 2016)
 *
 * Images are cut into squares of 4×4 pixels.  A filter g becomes 36 numbers, and so does
 * the 6×6 patch d of a square; for each of these 36 "positions" the sum over channels is
 * a product of matrices, with 36 multiplications for 16 pixels instead of 144.  The
 * points of interpolation are 0, ±1/√2, ±√2 and ∞, whose rounding errors are 2.6 times a
 * plain sum's in float (0, ±1, ±2 and ∞: 5 times).
 * With factors rounded to bfloat16, which are rounded after the transforms, they are 5.2
 * times a plain sum's (0.012 of the result against 0.0023), and networks learn as well
 * all the same (examples/RESULTS.md); a plain sum would have four times the products.
 *
 * Squares of some rows of an image are worked on at a time, with channels innermost, so
 * that nothing is shuffled but what comes in and goes out, and any size will do.  With
 * few squares it is the filters that cost: then they are made block by block of output
 * channels, each used at once.
 *
 * The gradient of the input is such a convolution, of the output's gradient by filters
 * read backwards.  That of a filter is Gᵀ[(Bᵀ d B) ⊙ (A dY Aᵀ)]G, summed over squares. */
#ifndef CGLOW_MATH_CONV_WINOGRAD_H
#define CGLOW_MATH_CONV_WINOGRAD_H

#include "base/act.h"
#include "base/isa.h"
#include "math/conv_put.h"
#include "math/filters3x3.h"

/* Is it faster than the plain convolution of 3×3 kernels, for so many channels?  Of
 * rounded factors either way makes another number, and a sample is to be the same among
 * others: there this does not depend on how many they are. */
bool conv_winograd_pays(Precision how, const Act *in, size_t channels);

/* Filter (o, c) lies at p[o·out_step + c·in_step], nine numbers, read backwards if
 * turned. */
typedef struct Filters {
  const real *p;
  size_t out_step, in_step;
  bool turned;
} Filters;

/* Reals of scratch for the two calls below. */
size_t conv_winograd_scratch(const Act *in, const Act *out, int threads);

/* out = bias + filters * in, or what `put` makes of that; bias may be NULL. */
void conv_winograd(Precision how, const Act *in, Filters filters, const real *bias,
                   const Act *out, const Put *put, real *scratch, int threads);

/* The gradients of the filters and, unless din is NULL, of the input, which is `put`, by
 * one team of threads: who has no piece of the one left goes on with the other.  Returns
 * the largest magnitude in dw, as largest_magnitude does.  filters: of the forward pass.
 */
real conv_winograd_backward(Precision how, const Act *in, Filters filters,
                            const Act *dout, FiltersTarget to, const Act *din,
                            const Put *put, real *scratch, int threads);

#endif

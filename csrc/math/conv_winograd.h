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
#include "math/gemm.h"

/* Is it faster than the plain convolution of 3×3 kernels, for so many channels? */
bool conv_winograd_pays(const Act *in, size_t channels);

/* Filter (o, c) lies at p[o·out_step + c·in_step], nine numbers, read backwards if
 * turned. */
typedef struct Filters {
  const real *p;
  size_t out_step, in_step;
  bool turned;
} Filters;

/* Reals of scratch for any of the two calls below, in and out exchanged or not. */
size_t conv_winograd_scratch(const Act *in, const Act *out, int threads);

/* out = bias + filters * in; bias may be NULL. */
void conv_winograd(const Act *in, Filters filters, const real *bias, const Act *out,
                   real *scratch, int threads);

/* dw[out][in][9] = beta·dw + …; db = bias_beta·db + … (NULL: not wanted). */
void conv_winograd_gradient(const Act *in, const Act *dout, real *dw, real beta, real *db,
                            real bias_beta, real *scratch, int threads);

/* ---- kernels: channels of a block of PANEL are innermost ---- */

#define WINOGRAD_POSITIONS ((size_t)36)

/* Numbers at p[position·step]. */
typedef struct Positions {
  real *p;
  size_t step;
} Positions;

/* Some rows of pixels [w][PANEL]; where `step` is 0 they are one pixel over and over. */
typedef struct PixelRow {
  const real *p;
  size_t step;
} PixelRow;

/* G g Gᵀ of PANEL filters, rows[9][PANEL], read backwards if turned, to u[PANEL] at each
 * position. */
#define FILTER_ARGS const real *rows, bool turned, Positions u
ISA_KERNEL(void, conv_filter, (FILTER_ARGS));
/* Its transpose. */
#define FILTER_BACK_ARGS real *rows, Positions u
ISA_KERNEL(void, conv_filter_back, (FILTER_BACK_ARGS));

/* Bᵀ d B of a row of squares, from the six rows of pixels; square s at v + s·next. */
#define PATCHES_ARGS \
  const PixelRow *row, size_t w, size_t squares, Positions v, size_t next
ISA_KERNEL(void, conv_patches, (PATCHES_ARGS));
/* A dY Aᵀ likewise, from four; sums[PANEL] grows by all pixels. */
#define SPREAD_ARGS \
  const PixelRow *row, size_t w, size_t squares, Positions v, size_t next, real *sums
ISA_KERNEL(void, conv_spread, (SPREAD_ARGS));
/* Aᵀ m A + bias: the first `rows` rows, of w pixels, of a row of squares. */
#define SQUARES_ARGS \
  Positions m, size_t squares, const real *bias, size_t rows, size_t w, real *pixels
ISA_KERNEL(void, conv_squares, (SQUARES_ARGS));

/* m[squares][PANEL] = v[squares][ld]·u[channels][PANEL] at each position. */
#define POSITION_PRODUCTS_ARGS \
  size_t squares, size_t channels, Positions v, size_t ld, Positions u, Positions m
ISA_KERNEL(void, conv_products, (POSITION_PRODUCTS_ARGS));
/* u[channels][PANEL] (+)= v[squares][ld]ᵀ·m[squares][ldm] */
#define POSITION_SUMS_ARGS                                                          \
  size_t squares, size_t channels, Positions v, size_t ld, Positions m, size_t ldm, \
      bool add, Positions u
ISA_KERNEL(void, conv_sums, (POSITION_SUMS_ARGS));

#endif

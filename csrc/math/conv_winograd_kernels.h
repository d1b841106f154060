/* The kernels of math/conv_winograd.h: channels of a block of PANEL are innermost. */
#ifndef CGLOW_MATH_CONV_WINOGRAD_KERNELS_H
#define CGLOW_MATH_CONV_WINOGRAD_KERNELS_H

#include "base/isa.h"
#include "math/gemm.h"

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
/* The transpose of conv_filter: gradients of u to gradients of the filters. */
#define FILTER_BACK_ARGS real *rows, Positions u
ISA_KERNEL(void, conv_filter_back, (FILTER_BACK_ARGS));

/* Bᵀ d B of a row of squares, from the six rows of pixels; square s at v + s·next. */
#define PATCHES_ARGS \
  const PixelRow *row, size_t w, size_t squares, Positions v, size_t next
ISA_KERNEL(void, conv_patches, (PATCHES_ARGS));
/* Where factors are pairs (math/pairs.h): patches of 32 channels to 16 pairs; and filters
 * of `count` channels, whose pairs then lie in every other channel's place. */
#if HAVE_AVX512_BF16
void conv_patches_avx512_bf16(PATCHES_ARGS);
void conv_filter_pairs_avx512_bf16(size_t count, Positions u);
#endif
/* A dY Aᵀ likewise, from four; sums[PANEL] grows by all pixels. */
#define SPREAD_ARGS \
  const PixelRow *row, size_t w, size_t squares, Positions v, size_t next, real *sums
ISA_KERNEL(void, conv_spread, (SPREAD_ARGS));
/* Aᵀ m A + bias: the first `rows` rows, of w pixels, of a row of squares. */
#define SQUARES_ARGS \
  Positions m, size_t squares, const real *bias, size_t rows, size_t w, real *pixels
ISA_KERNEL(void, conv_squares, (SQUARES_ARGS));

/* m[squares][PANEL] = v[squares][ld]·u[channels][PANEL] at each position; of pairs, where
 * factors are. */
#define POSITION_PRODUCTS_ARGS \
  size_t squares, size_t channels, Positions v, size_t ld, Positions u, Positions m
PRODUCT_KERNEL(void, conv_products, (POSITION_PRODUCTS_ARGS));
/* u[channels][PANEL] (+)= v[squares][ld]ᵀ·m[squares][ldm] */
#define POSITION_SUMS_ARGS                                                          \
  size_t squares, size_t channels, Positions v, size_t ld, Positions m, size_t ldm, \
      bool add, Positions u
PRODUCT_KERNEL(void, conv_sums, (POSITION_SUMS_ARGS));

#endif

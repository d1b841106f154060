/* 3×3 convolutions between few planes and many channels by Winograd's F(2×2, 3×3).
 *
 *   Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A      (Lavin & Gray 2016)
 *
 * Images are cut into squares of 2×2 pixels.  A filter g becomes 16 numbers, and
 * so does the 4×4 patch d of a square; for each of the 16 "positions" the sum over
 * channels is a product of matrices, with 4 multiplications for a pixel instead of
 * 9.  The patches overlap only on the side of the few planes.  On the side of the
 * many channels a square is just its four pixels, which lie in four panels (math/gemm.h),
 * one for each place in the square, with squares for columns.
 *
 *   widen   many channels from patches of few: Y above
 *   narrow  its transpose: patches, to be added where they overlap
 *   sum     the gradient of the 16 products, for the filters
 *
 * The filters of `wide` × `few` are kept in blocks of PANEL wide channels,
 * [block][16][few][PANEL], the last filled up with zeros. */
#ifndef CGLOW_MATH_WINOGRAD_H
#define CGLOW_MATH_WINOGRAD_H

#include "base/act.h"
#include "math/filters3x3.h"

#define POSITIONS ((size_t)16)

/* G g Gᵀ of PANEL wide channels: rows[9][PANEL] are their filters, or the filters
 * backwards if they are turned; position p lies at u + p·few·PANEL. */
void winograd_filter(const real *rows, bool turned, size_t few, real *u);
/* The transpose of winograd_filter, for gradients: rows = Gᵀ du G. */
void winograd_filter_back(const real *du, bool turned, size_t few, real *rows);

/* The last that is done to filters, of `count` of `few` channels from u on, before they
 * widen, or narrow, and only that: where factors are pairs (math/pairs.h), they are
 * rounded.  Where filters widen, two channels make a pair, the first with the second. */
#define WINOGRAD_READY_ARGS bool widens, size_t few, size_t count, real *u
void winograd_filters_ready(Precision how, WINOGRAD_READY_ARGS);
#if HAVE_AVX512_BF16
void winograd_pairs_avx512_bf16(WINOGRAD_READY_ARGS);
#endif

/* Bᵀ d B of the patches of `rows` rows of squares, row0 and on, counted over all
 * samples; position p of channel c is row p·few + c of cols, whose rows have length
 * ld. */
void winograd_patches(const Act *in, size_t row0, size_t rows, size_t few, real *cols,
                      size_t ld);
/* B n B^T of the first `count` of `few` channels of a panel [16][few][PANEL], in place:
 * how patches are added. */
void winograd_unpatch(size_t few, size_t count, real *panel);
/* dst[0 … 2n−1], a row of pixels, grows by a row of n squares' patches; p: the first
 * of four rows, ld apart, their columns. */
void winograd_overlap(const real *p, size_t ld, size_t n, real *dst);

/* The first `rows` channels of out, four panels of `wide` rows, from v:
 * [16][count][PANEL], the filters' channels first, first + 1, …; n ≤ PANEL squares
 * count, a multiple of half a panel; `add`: to what out holds. */
#define WIDEN_ARGS                                                                 \
  const real *u, size_t wide, size_t rows, size_t few, size_t first, size_t count, \
      const real *v, size_t n, bool add, real *out
void winograd_widen(Precision how, WIDEN_ARGS);
PRODUCT_KERNEL(void, widen, (WIDEN_ARGS));
/* v's first `count` channels, v: [16][few][PANEL], from h, four panels of `wide` rows. */
#define NARROW_ARGS \
  const real *u, size_t wide, size_t few, size_t count, const real *h, size_t n, real *v
void winograd_narrow(Precision how, NARROW_ARGS);
PRODUCT_KERNEL(void, narrow, (NARROW_ARGS));
/* Block b of the filters' gradient: du[16][few][PANEL] (+)= products of v, as above,
 * with h's channels of the block. */
void winograd_sum(Precision how, const real *v, size_t few, const real *h, size_t wide,
                  size_t b, size_t n, bool add, real *du);
/* winograd_sum for a block that lies by itself: four panels [n][PANEL], a row for each
 * square. */
#define SUM_ARGS const real *v, size_t few, const real *h, size_t n, bool add, real *du
PRODUCT_KERNEL(void, sum, (SUM_ARGS));

#endif

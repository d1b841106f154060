/* Squares of 4×4 pixels of a batch of images, and their patches, for math/conv_winograd.c
 * and its gradient. */
#ifndef CGLOW_MATH_CONV_WINOGRAD_SQUARES_H
#define CGLOW_MATH_CONV_WINOGRAD_SQUARES_H

#include "base/act.h"
#include "base/size.h"
#include "math/conv_put.h"
#include "math/conv_winograd_kernels.h"

/* Filters that are transposed together. */
#define SOME_FILTERS ((size_t)16)
/* Numbers between positions, so that not all of them fall into one set of a cache. */
#define POSITION_GAP ((size_t)16)

/* Pieces of some size that make all. */
static inline size_t pieces_of(size_t all, size_t size) {
  /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): it takes itself for 0 and for not */
  return size == 0 ? 0 : (all + size - 1) / size;
}
static inline size_t blocks_of(size_t channels) { return pieces_of(channels, PANEL); }

/* How images are cut. */
typedef struct Cut {
  size_t n, h, w;    /* of the images */
  size_t high, wide; /* squares of one */
  size_t rows;       /* of squares in a chunk; the last may have fewer */
  size_t all, chunks;
} Cut;

/* Cut images into chunks of about so many squares, but of whole rows. */
Cut squares_cut(const Act *a, size_t squares);

static inline size_t chunk_rows(const Cut *t, size_t row) {
  return min_size(t->rows, t->all - row);
}

/* Room for so many numbers at each position. */
static inline size_t position_step(size_t numbers) { return numbers + POSITION_GAP; }
static inline size_t room(size_t numbers) {
  return WINOGRAD_POSITIONS * position_step(numbers);
}
static inline Positions take(real **scratch, size_t numbers) {
  Positions p = {*scratch, position_step(numbers)};
  *scratch += room(numbers);
  return p;
}

/* Pixels of a chunk, a block of channels, with what is read around them. */
static inline size_t pixel_room(const Cut *t) { return (4 * t->rows + 2) * t->w * PANEL; }

/* What is made of rows of pixels: patches of six, perhaps in pairs (math/pairs.h), or the
 * four of a square alone. */
typedef struct Source {
  const Act *a;
  bool patches, pairs;
} Source;

/* Rows row … row+rows−1 of squares, counted over all images, of block b of channels:
 * square s at v + s·next.  pixels: scratch.  sums[PANEL] grows by all pixels of each
 * channel (NULL: not wanted, nor are there of patches). */
void squares_make(const Cut *t, const Source *from, size_t b, size_t row, size_t rows,
                  real *pixels, Positions v, size_t next, double *sums);

/* From the products of rows of squares to block b of out's channels. */
void squares_put(const Cut *t, const Act *out, const Put *put, size_t b, size_t row,
                 size_t rows, Positions m, const real *bias, real *pixels);

#endif

/* Convolutions whose kernels do not overlap, one after the other: the body of
 * the conditioning networks (design: RConv).
 *
 * Kernel and stride are the same, so a pixel of the last output reads a patch of its
 * own of every layer before.  Work is cut into groups of PANEL such pixels; a group
 * passes through all convolutions and their ReLUs while it is in the second-level
 * cache, forward as well as backward.  Only the first convolution may be of any
 * kind: its columns are gathered from the input.
 *
 * A stage's outputs lie as the next stage's columns: for each of its kernel's
 * windows, channel by channel, the window's pixels ("taps").  A group's columns are
 * panels (math/gemm.h) of [numbers in a column][PANEL]; panel t belongs to the t-th pixel,
 * counted window in window, of each of the PANEL patches. */
#ifndef CGLOW_NN_CONV_CHAIN_H
#define CGLOW_NN_CONV_CHAIN_H

#include "base/prefetch.h"
#include "nn/layer.h"

#define PATCHES_STAGES 4
/* Pixels of the first output in a patch, at most. */
#define PATCHES_PIXELS 256
/* Numbers in a column, at most: a group has PANEL columns, however few pixels. */
#define PATCHES_COLUMN 4096

typedef struct PatchStage {
  const Layer *conv;
  bool relu;      /* follows it */
  size_t columns; /* numbers in a column */
  size_t out;     /* channels */
  size_t panels;  /* of outputs in a group: pixels in a patch */
  size_t taps;    /* of the next stage's windows; last stage: 1 */
} PatchStage;

typedef struct Patches {
  size_t depth, n, h, w; /* stages; samples and size of the last output */
  PatchStage stage[PATCHES_STAGES];
} Patches;

/* Do the layer's kernels tile an input of this size, each pixel in just one? */
bool patches_tile(const Layer *l, size_t h, size_t w);

/* Append a stage to a zeroed or begun plan, with n, h, w of its output; false
 * when that is more than a plan takes. */
bool patches_add(Patches *v, const Layer *conv, size_t n, size_t h, size_t w);

/* Reals: outputs between the stages, which backward reads; the first stage's
 * columns; scratch of either direction. */
size_t patches_kept(const Patches *v);
size_t patches_columns_count(const Patches *v);
size_t patches_scratch(const Patches *v, int threads);

/* The first stage's columns of all groups.  Plans of the same columns have the same
 * from the same input. */
void patches_columns(const Patches *v, const Act *in, real *cols, int threads);
bool patches_same_columns(const Patches *a, const Patches *b);

/* cols: what patches_columns writes, when somebody has it; else NULL.  soon: what will
 * be read next; the last group gives the cache time to fetch it. */
void patches_forward(const Patches *v, const Act *in, const Act *out, real *kept,
                     const real *cols, const Spans *soon, real *scratch, int threads);
/* Accumulates the layers' gradients; din is overwritten (NULL: not wanted). */
void patches_backward(const Patches *v, const Act *in, const Act *out, const Act *dout,
                      const Act *din, const real *kept, const real *cols,
                      const Spans *soon, real *scratch, int threads);

#endif

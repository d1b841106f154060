/* Convolutions whose kernels do not overlap, one after the other: the body of
 * the conditioning networks (RConv in lua/README.md).
 *
 * Kernel and stride are the same, so a pixel of the last output reads a patch of its
 * own of every layer before.  Work is cut into groups of PANEL such pixels; a group
 * passes through all convolutions and their ReLUs while it is in the second-level
 * cache, forward as well as backward.  Only the first convolution may be of any
 * kind: its columns are gathered from the input.
 *
 * A stage's outputs lie as the next stage's columns: for each of its kernel's
 * windows, channel by channel, the window's pixels ("window").  A group's columns are
 * panels (math/gemm.h) of [numbers in a column][PANEL]; panel t belongs to the t-th
 * pixel, counted window in window, of each of the PANEL patches. */
#ifndef CGLOW_NN_CONV_CHAIN_H
#define CGLOW_NN_CONV_CHAIN_H

#include "base/prefetch.h"
#include "nn/conv_chain_groups.h"

/* Do the layer's kernels tile an input of this size, each pixel in just one? */
bool conv_chain_tiles(const Layer *l, size_t h, size_t w);

/* Append a stage to a zeroed or begun plan, with n, h, w of its output; false
 * when that is more than a plan takes. */
bool conv_chain_add(ConvChain *v, const Layer *conv, size_t n, size_t h, size_t w);

/* Reals: outputs between the stages, which backward reads; the first stage's
 * columns; scratch of either direction. */
size_t conv_chain_kept(const ConvChain *v);
size_t conv_chain_columns_count(const ConvChain *v);
size_t conv_chain_scratch(const ConvChain *v, int threads);

/* The first stage's columns of all groups.  Plans of the same columns have the same
 * from the same input. */
void conv_chain_columns(const ConvChain *v, const Act *in, real *cols, int threads);
bool conv_chain_same_columns(const ConvChain *a, const ConvChain *b);

/* cols: what conv_chain_columns writes, when somebody has it; else NULL.  later: what
 * will be read next; the last group gives the cache time to fetch it. */
void conv_chain_forward(const ConvChain *v, const Act *in, const Act *out, real *kept,
                        const real *cols, const Ranges *later, real *scratch,
                        int threads);
/* Accumulates the layers' gradients; din is overwritten (NULL: not wanted). */
void conv_chain_backward(const ConvChain *v, const Act *in, const Act *out,
                         const Act *dout, const Act *din, const real *kept,
                         const real *cols, const Ranges *later, real *scratch,
                         int threads);

#endif

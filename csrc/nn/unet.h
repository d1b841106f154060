/* A U-Net: images to features at every scale, each with the context of coarser ones.
 *
 *   a_1 = stem(x);  f_s = block(a_s);  a_s = shrink_s(f_{s−1})       s = 1 … S downwards
 *   g_S = f_S;  g_s = block'(merge_s(enlarge(g_{s+1}), f_s))         and upwards
 *   block(a) = relu(a + conv2(relu(conv1(relu(a)))))
 *
 * All convolutions are 3×3 with padding 1 and a bias; shrink's has stride 2; enlarge
 * makes 2×2 equal pixels of one.  Scale s has sides of 2^(1−s) of x's.  Of block's sum
 * nobody reads what lies below 0, so relu is part of it.
 *
 * Activations are channel-major over the batch.  The two inputs of merge lie behind each
 * other, so that to concatenate them is to write them there. */
#ifndef CGLOW_NN_UNET_H
#define CGLOW_NN_UNET_H

#include "nn/layer.h"

#define UNET_SCALES 16

typedef struct UNetBlock {
  Layer conv1, conv2;
} UNetBlock;

/* What a block keeps for backward: relu(a), relu(conv1(·)) and what comes out. */
typedef struct UNetActs {
  Act in, mid, out;
} UNetActs;

typedef struct UNet {
  size_t scales, channels[UNET_SCALES];
  size_t finest; /* the first scale, from 0, that can be made on the way up */
  size_t made;   /* the first one that the last forward did make */
  Layer stem, shrink[UNET_SCALES], merge[UNET_SCALES];
  UNetBlock down[UNET_SCALES], up[UNET_SCALES];
  /* The plan for a batch: where activations lie. */
  size_t n, h, w;
  size_t arena; /* reals */
  size_t most;  /* of the largest activation */
  Act joined[UNET_SCALES];
  UNetActs downs[UNET_SCALES], ups[UNET_SCALES];
} UNet;

/* The geometry of all layers; channels and finest are set.  Parameters come after. */
void unet_layers(UNet *u, size_t in, Precision products);

/* Lay out a batch of n×in×h×w, h and w multiples of 2^(scales − 1), in memory at
 * `arena` (NULL: only count). */
void unet_plan(UNet *u, size_t n, size_t h, size_t w, real *arena);

/* Features of scale s, from `made` on: channel-major. */
static inline const Act *unet_features(const UNet *u, size_t s) {
  return s + 1 < u->scales ? &u->ups[s].out : &u->downs[s].out;
}

/* Reals of scratch for either direction: unet_room's and unet_layer_scratch's. */
size_t unet_scratch(const UNet *u, const Act *x, int threads);
/* Reals of scratch that must stay from one stage of the backward pass to the next, and
 * that need not. */
size_t unet_room(const UNet *u);
size_t unet_layer_scratch(const UNet *u, const Act *x, int threads);

/* made: the first scale that is wanted, finest or a later one. */
void unet_forward(UNet *u, const Act *x, size_t made, real *scratch, int threads);
/* The features of all scales that were made to others, by scale. */
void unet_copy_features(const UNet *u, const Act *to, int threads);
/* The mean over pixels of the coarsest features: pooled [n, channels]. */
void unet_pool(const UNet *u, real *pooled);

/* What a backward pass is given: the gradients of the features, scale by scale, `data`
 * NULL: 0, and of what is pooled, NULL: 0; where the gradient of x goes, or NULL. */
typedef struct UNetAsked {
  const Act *x, *features, *dx;
  const real *pooled;
} UNetAsked;

/* The backward pass has a stage for each scale on the way up, the finest first, and then
 * for each on the way down, the coarsest first.  After a stage the gradients of its
 * parameters, which grow, are complete. */
size_t unet_stages(const UNet *u);
/* Stage 0, 1, …, in order, with what the ones before left in `room`. */
void unet_backward_stage(UNet *u, size_t stage, const UNetAsked *asked, real *room,
                         real *scratch, int threads);

#endif

/* From features of x to what the layers of a level add: one 1×1 convolution for all of
 * them.
 *
 *   out = W·u   at every pixel;  u: [n, channels, ·, ·], of which the middle h×w counts
 *
 * W is in parts, one parameter each (all couplings of a level, all injectors, its split),
 * whose rows follow each other in out, which is [rows, n, h, w]. */
#ifndef CGLOW_FLOW_FEATURES_H
#define CGLOW_FLOW_FEATURES_H

#include "base/act.h"
#include "base/isa.h"
#include "optim/param.h"

#define FEATURES_PARTS 3

typedef struct Features {
  size_t channels, rows; /* rows of all parts */
  size_t parts;
  Precision precision;           /* of the products */
  Param *weight[FEATURES_PARTS]; /* [rows of the part, channels] */
} Features;

/* What a layer adds from the features: rows of `out`.  Each sample of x serves `repeat`
 * samples of y. */
typedef struct Added {
  Act a;
  size_t repeat;
} Added;

/* The middle of u, channel by channel: to is [c, n, h, w]. */
void features_crop(const Act *u, const Act *to, int threads);
/* From the middle, channel by channel, to u; 0 around it. */
void features_uncrop(const Act *from, const Act *u, int threads);

void features_forward(const Features *f, const Act *u, const Act *out, int threads);
/* du is overwritten; parameter gradients grow. */
void features_backward(const Features *f, const Act *u, const Act *dout, const Act *du,
                       int threads);

#endif

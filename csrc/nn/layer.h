/* Network layers: what conditioning networks are made of.
 *
 * A layer maps activations to activations; it owns parameters and geometry
 * but no activations, so the network that runs it decides where those live.
 *
 *   conv2d   out×in×kh×kw weight, optional bias            (math/conv.h)
 *   linear   out×in weight, bias, on flattened samples
 *   relu     max(x, 0)
 *   tanh     tanh(x)
 *   sigmoid  1/(1 + e^−x)
 *   upsample f×f equal pixels for each one                 (f: geometry.sh)
 *   norm     (x + bias_c)·exp(factor·logs_c)               Glow's norms */
#ifndef CGLOW_NN_LAYER_H
#define CGLOW_NN_LAYER_H

#include "base/act.h"
#include "math/conv.h"
#include "optim/param.h"

/* One sample's shape; flat: a row of c features. */
typedef struct Shape {
  size_t c, h, w;
  bool flat;
} Shape;

typedef struct Layer Layer;

#define LAYER_WHY 160

typedef struct LayerOps {
  const char *kind;
  /* Sets *out, or says in why[LAYER_WHY] what does not fit. */
  bool (*shape)(const Layer *l, const Shape *in, Shape *out, char *why);
  /* Reals of scratch for either direction. */
  size_t (*scratch)(const Layer *l, const Act *in, const Act *out, int threads);
  void (*forward)(const Layer *l, const Act *in, const Act *out, const real *cols,
                  real *scratch, int threads);
  /* Accumulates parameter gradients; overwrites din unless it is NULL. */
  void (*backward)(const Layer *l, const Act *in, const Act *out, const Act *dout,
                   const Act *din, const real *cols, real *scratch, int threads);
  bool in_place;      /* out may lie where in lay */
  bool needs_out;     /* backward reads out as this layer left it */
  bool wants_samples; /* in must be (N, C, H, W) without gaps */
  bool convolves;     /* reads columns of in, which networks may share, and may be run as
                         one with other convolutions */
  bool reads_whole;   /* weight is read once and whole, so that fetching it ahead pays */
  bool outer; /* weight's gradient is an outer product of as many rows as samples */
  void (*describe)(const Layer *l, char *text); /* what print says behind kind, at most
                                                   LAYER_WHY; NULL: nothing */
} LayerOps;

struct Layer {
  const LayerOps *ops;
  Param *weight, *bias, *logs; /* NULL where there is none */
  size_t in, out;              /* channels or features */
  ConvGeometry geometry;       /* conv2d; upsample; linear: precision of its network */
  real factor;                 /* norm */
};

extern const LayerOps layer_conv2d, layer_linear, layer_relu, layer_tanh, layer_sigmoid,
    layer_norm, layer_upsample;

/* conv2d's passes without columns, whose results are put as they are told
 * (math/conv_put.h). */
void conv2d_forward_put(const Layer *l, const Act *in, const Act *out, const Put *put,
                        real *scratch, int threads);
void conv2d_backward_put(const Layer *l, const Act *in, const Act *dout, const Act *din,
                         const Put *put, real *scratch, int threads);

static inline size_t shape_count(const Shape *s) { return s->c * s->h * s->w; }

#endif

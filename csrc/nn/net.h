/* A network: layers run one after the other.
 *
 * The plan says where each layer's output lies.  Between layers activations
 * are channel-major over the whole batch, so that a convolution is one GEMM;
 * where a layer wants samples, and at the end, they are (N, C, H, W).  relu
 * runs in place.  Convolutions whose kernels do not overlap, with the relus after
 * them, are run as one (nn/conv_chain.h). */
#ifndef CGLOW_NN_NET_H
#define CGLOW_NN_NET_H

#include "nn/conv_chain.h"
#include "nn/layer.h"

#define NET_WHY 200

typedef struct NetNode {
  Layer *layer;
  bool in_place;
  size_t offset; /* of out in the arena; the last group is the output itself */
  bool in_output;
  ConvChain chain; /* the first of convolutions that are run as one: how; else empty */
  size_t other;    /* the other end of their nodes; else the node itself */
  size_t kept;     /* first of them: where their inner outputs lie in the arena */
  Act out;
} NetNode;

typedef struct Net {
  size_t count;
  Shape in_shape, out_shape; /* of the current plan */
  size_t n;
  bool planned;
  bool ran;    /* forward has run on this plan, so backward may */
  size_t runs; /* counted, so that a caller sees whether there was another */
  Act in, out;
  size_t arena, grad; /* reals: kept activations; one gradient buffer */
  NetNode node[];
} Net;

/* What comes out of n samples of this shape; false with a reason in
 * why[NET_WHY]. */
bool net_output_shape(const Net *net, size_t n, const Shape *in, Shape *out, char *why);

/* Lay out a batch of n samples of this shape; false with a reason in why[NET_WHY].
 * Sets arena and grad. */
bool net_plan(Net *net, size_t n, const Shape *in, char *why);

/* Reals of scratch for one forward or backward with this many threads. */
size_t net_forward_scratch(const Net *net, int threads);
size_t net_backward_scratch(const Net *net, int threads);

/* When the first layer is a convolution: the columns that it reads, which may be
 * formed once for all networks that read the same x.  Reals; 0: it is none. */
size_t net_columns_count(const Net *net);
bool net_same_columns(const Net *a, const Net *b);
void net_columns(const Net *net, real *in, real *cols, int threads);

/* The weights that backward reads first, as much as can wait in a cache. */
Ranges net_backward_reads(const Net *net);

/* in, out: (N, C, H, W); arena: net->arena reals, kept until backward.
 * cols: what net_columns writes, or NULL. */
void net_forward(Net *net, real *in, real *out, real *arena, const real *cols,
                 real *scratch, int threads);
/* din: (N, C, H, W) or NULL when it is not wanted.  later: what this thread will read
 * afterwards. */
void net_backward(Net *net, real *dout, real *din, const real *arena, const real *cols,
                  const Ranges *later, real *scratch, int threads);

#endif

/* Conditional affine coupling (Lu & Huang 2020; Glow: Kingma & Dhariwal 2018).
 *
 *   y = (y1, y2) along the channels, h = (hx, y1),  hx = CNc(x)
 *   v = conv3×3(relu(norm2(conv1×1(relu(norm1(conv3×3(h))))))) + bias3
 *   o = tanh(v·exp(3·logs3));  t = o_even, r = o_odd;  σ = sigmoid(r + 2)
 *   z1 = y1, z2 = (y2 + t)·σ;  log-det = Σ log σ
 *
 * With features of x (an encoder): h = y1, and `pre`, a 1×1 convolution of the features
 * made elsewhere for all steps of a level at once, is added to the first convolution's
 * output; with a bound α > 0, t = v_even·exp(3·logs3) without bound and
 * log σ = α·tanh(v_odd·exp(3·logs3)/α).
 *
 * The two hidden layers are `width` channels wide and hold nearly all of the
 * arithmetic of a model, so the work is arranged around them.  An image is made of
 * cells: squares of 2×2 pixels or, where a side is odd or cells are few, pixels; so
 * a sample's last bits may depend on how many are in its batch, unless products are of
 * rounded numbers, which would make more of it.  Cells of
 * the whole batch, counted row by row, are cut into tiles of whole rows, and each
 * tile into panels of 32 cells; the hidden layers of a panel of cells are one panel
 * (math/gemm.h) for each pixel of a cell, and pass through products and norms while they
 * are in cache.  Tiles are shared out to threads; where they are fewer than threads, some
 * channels of each are, layer by layer, which cuts no sum.  Hidden layers are stored
 * panel by panel.  How the two 3×3 convolutions lead from few planes to the hidden layers
 * and back is said in flow/coupling/conv3x3.h.  The backward passes mirror all this. */
#ifndef CGLOW_FLOW_COUPLING_COUPLING_H
#define CGLOW_FLOW_COUPLING_COUPLING_H

#include "base/act.h"
#include "flow/coupling/plan.h"
#include "flow/coupling/transform.h"

/* What the network of a coupling reads. */
typedef struct CouplingInput {
  Act y1;        /* or the steps that stand for it: flow/coupling/steps.h */
  Act hx;        /* data NULL when pre is given, or without condition */
  Act pre;       /* what is added to conv1's output, width channels; data NULL: nothing */
  size_t repeat; /* samples of y for each sample of pre */
} CouplingInput;

/* Reals: hidden layers that backward reads; scratch of each direction. */
size_t coupling_hidden_count(const Coupling *c, const CouplingPlan *p);
size_t coupling_forward_scratch(const Coupling *c, const CouplingPlan *p, int threads);
size_t coupling_backward_scratch(const Coupling *c, const CouplingPlan *p, int threads);
size_t coupling_precompute_scratch(const Coupling *c, const CouplingPlan *p, int threads);

/* pre[x] = conv1's part from hx, for samples to come. */
void coupling_precompute(const Coupling *c, const Act *hx, real *pre, real *scratch,
                         int threads);

/* The network: v [n, 2·change, h, w] from its input, and what is done with v, unless
 * `use` is NULL.  hidden: kept for backward, or NULL. */
void coupling_network(const Coupling *c, const CouplingPlan *p, const CouplingInput *in,
                      real *hidden, real *v, const CouplingUse *use, real *scratch,
                      int threads);

/* From dz and dlogdet[n] to dy, dhx and dpre (data NULL where there is none);
 * parameter gradients grow.  y is forward's input, `read` what the network read of y1. */
void coupling_backward(const Coupling *c, const CouplingPlan *p, const Act *y,
                       const Act *read, const Act *hx, const real *hidden, const real *v,
                       const Act *dz, const real *dlogdet, const Act *dy, const Act *dhx,
                       const Act *dpre, real *scratch, int threads);

#endif

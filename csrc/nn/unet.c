/* The U-Net: its plan and its passes. */
#include "nn/unet.h"

#include <string.h>

#include "base/size.h"
#include "base/threads.h"
#include "math/elementwise.h"

static inline size_t act_count(const Act *a) { return a->c * act_pixels(a); }

/* ---- layers ---- */

static void set_conv(Layer *l, size_t in, size_t out, const ConvGeometry *g) {
  l->ops = &layer_conv2d;
  l->in = in;
  l->out = out;
  l->geometry = *g;
}

static void set_block(UNetBlock *b, size_t c, const ConvGeometry *g) {
  set_conv(&b->conv1, c, c, g);
  set_conv(&b->conv2, c, c, g);
}

void unet_layers(UNet *u, size_t in, Precision products) {
  const ConvGeometry same = {3, 3, 1, 1, 1, 1, products},
                     halving = {3, 3, 2, 2, 1, 1, products};
  const size_t *c = u->channels;
  set_conv(&u->stem, in, c[0], &same);
  for (size_t s = 0; s < u->scales; s++) {
    if (s > 0) set_conv(&u->shrink[s], c[s - 1], c[s], &halving);
    set_block(&u->down[s], c[s], &same);
    if (s + 1 == u->scales) break;
    set_conv(&u->merge[s], c[s + 1] + c[s], c[s], &same);
    set_block(&u->up[s], c[s], &same);
  }
}

/* ---- plan ---- */

static Act place(UNet *u, real *arena, size_t s, size_t channels) {
  Act a = act_cnhw(arena ? arena + u->arena : NULL, u->n, channels, u->h >> s, u->w >> s);
  u->arena += round_up(act_count(&a));
  u->most = max_size(u->most, round_up(act_count(&a)));
  return a;
}

static bool has_up(const UNet *u, size_t s) {
  return s + 1 < u->scales && s >= u->finest;
}

void unet_plan(UNet *u, size_t n, size_t h, size_t w, real *arena) {
  u->n = n, u->h = h, u->w = w;
  u->arena = u->most = 0;
  for (size_t s = 0; s < u->scales; s++) {
    size_t c = u->channels[s], below = s + 1 < u->scales ? u->channels[s + 1] : 0;
    UNetActs *d = &u->downs[s];
    d->in = place(u, arena, s, c);
    d->mid = place(u, arena, s, c);
    if (!has_up(u, s)) {
      d->out = place(u, arena, s, c);
      continue;
    }
    u->joined[s] = place(u, arena, s, below + c);
    d->out = act_channels(&u->joined[s], below, c);
    u->ups[s] = (UNetActs){place(u, arena, s, c), place(u, arena, s, c), {0}};
    u->ups[s].out = place(u, arena, s, c);
  }
}

static size_t conv_room(const Layer *l, const Act *in, const Act *out, int threads) {
  return l->ops->scratch(l, in, out, threads);
}

size_t unet_layer_scratch(const UNet *u, const Act *x, int threads) {
  size_t most = conv_room(&u->stem, x, &u->downs[0].in, threads);
  for (size_t s = 0; s < u->scales; s++) {
    const UNetActs *d = &u->downs[s];
    if (s > 0)
      most =
          max_size(most, conv_room(&u->shrink[s], &u->downs[s - 1].out, &d->in, threads));
    most = max_size(most, conv_room(&u->down[s].conv1, &d->in, &d->mid, threads));
    if (!has_up(u, s)) continue;
    most = max_size(most, conv_room(&u->merge[s], &u->joined[s], &u->ups[s].in, threads));
  }
  return round_up(most);
}

/* Forward: the sum before a block.  Backward: the gradients of what the next block puts
 * out, of what lies inside it, of its input; and of what merge read at each scale. */
size_t unet_room(const UNet *u) {
  size_t all = 4 * u->most;
  for (size_t s = 0; s < u->scales; s++)
    if (has_up(u, s)) all += round_up(act_count(&u->joined[s]));
  return all;
}

size_t unet_scratch(const UNet *u, const Act *x, int threads) {
  return unet_room(u) + unet_layer_scratch(u, x, threads);
}

/* ---- forward ---- */

CLONES static void relu_to(const real *a, real *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = a[i] > 0 || a[i] != a[i] ? a[i] : 0;
}

CLONES static void add_relu(const real *a, real *out, size_t n) {
  for (size_t i = 0; i < n; i++) {
    real v = out[i] + a[i];
    out[i] = v > 0 || v != v ? v : 0;
  }
}

typedef void (*Pass)(const real *a, real *out, size_t n);

/* Channels lie one behind the other, as all channel-major activations do. */
static void each_channel(const Act *a, const Act *out, Pass f, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (size_t c = 0; c < out->c; c++)
    f(a->data + c * a->cs, out->data + c * out->cs, act_pixels(out));
}

static void conv(const Layer *l, const Act *in, const Act *out, real *scratch,
                 int threads) {
  l->ops->forward(l, in, out, NULL, scratch, threads);
}

static void block_forward(const UNetBlock *b, const Act *a, const UNetActs *v,
                          real *scratch, int threads) {
  each_channel(a, &v->in, relu_to, threads);
  conv(&b->conv1, &v->in, &v->mid, scratch, threads);
  each_channel(&v->mid, &v->mid, relu_to, threads);
  conv(&b->conv2, &v->mid, &v->out, scratch, threads);
  each_channel(a, &v->out, add_relu, threads);
}

/* Every pixel as 2×2 equal ones. */
static void enlarge(const Act *in, const Act *out, int threads) {
  static const Layer twice = {.geometry = {.sh = 2, .sw = 2}};
  layer_upsample.forward(&twice, in, out, NULL, NULL, threads);
}

void unet_forward(UNet *u, const Act *x, size_t made, real *scratch, int threads) {
  real *rest = scratch + u->most;
  u->made = made;
  for (size_t s = 0; s < u->scales; s++) {
    Act a = u->downs[s].in;
    a.data = scratch;
    if (s == 0)
      conv(&u->stem, x, &a, rest, threads);
    else
      conv(&u->shrink[s], &u->downs[s - 1].out, &a, rest, threads);
    block_forward(&u->down[s], &a, &u->downs[s], rest, threads);
  }
  for (size_t s = u->scales - 1; s-- > made;) {
    Act a = u->ups[s].in, up = act_channels(&u->joined[s], 0, u->channels[s + 1]);
    a.data = scratch;
    enlarge(unet_features(u, s + 1), &up, threads);
    conv(&u->merge[s], &u->joined[s], &a, rest, threads);
    block_forward(&u->up[s], &a, &u->ups[s], rest, threads);
  }
}

void unet_pool(const UNet *u, real *pooled) {
  const Act *a = &u->downs[u->scales - 1].out;
  for (size_t n = 0; n < a->n; n++)
    for (size_t c = 0; c < a->c; c++)
      *pooled++ =
          (real)(reduce_sum(act_plane(a, n, c), a->h * a->w) / (double)(a->h * a->w));
}

/* ---- backward ---- */

CLONES static void mask(const real *out, real *d, size_t n) {
  for (size_t i = 0; i < n; i++) d[i] = out[i] > 0 ? d[i] : 0;
}

/* d += add where out > 0 */
CLONES static void add_masked(const real *out, const real *add, real *d, size_t n) {
  for (size_t i = 0; i < n; i++) d[i] += out[i] > 0 ? add[i] : 0;
}

static void add_to(const real *a, real *out, size_t n) { axpy_range(out, a, 1, n); }

/* The gradients that pass through a block, all like what comes out of it. */
typedef struct Gradients {
  Act out, mid, in;
  real *rest;
  int threads;
} Gradients;

static Gradients gradients_like(const Act *like, const UNet *u, real *scratch, real *rest,
                                int threads) {
  Act a = act_cnhw(scratch, like->n, like->c, like->h, like->w);
  Gradients g = {a, a, a, rest, threads};
  g.mid.data += u->most;
  g.in.data += 2 * u->most;
  return g;
}

static void conv_back(const Layer *l, const Act *in, const Act *out, const Act *dout,
                      const Act *din, const Gradients *g) {
  l->ops->backward(l, in, out, dout, din, NULL, g->rest, g->threads);
}

/* g->out becomes the gradient of the block's input, a. */
static void block_backward(const UNetBlock *b, const UNetActs *v, const Gradients *g) {
  each_channel(&v->out, &g->out, mask, g->threads);
  conv_back(&b->conv2, &v->mid, &v->out, &g->out, &g->mid, g);
  each_channel(&v->mid, &g->mid, mask, g->threads);
  conv_back(&b->conv1, &v->in, &v->mid, &g->mid, &g->in, g);
#pragma omp parallel for schedule(static) num_threads(g->threads) if (g->threads > 1)
  for (size_t c = 0; c < v->in.c; c++)
    add_masked(v->in.data + c * v->in.cs, g->in.data + c * g->in.cs,
               g->out.data + c * g->out.cs, act_pixels(&v->in));
}

/* Begin with the gradient that is given for the features of a scale, or 0. */
static void take(const Act *given, const Act *d, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (size_t c = 0; c < d->c; c++)
    for (size_t n = 0; n < d->n; n++) {
      size_t bytes = d->h * d->w * sizeof *d->data;
      if (given->data != NULL)
        memcpy(act_plane(d, n, c), act_plane(given, n, c), bytes);
      else
        memset(act_plane(d, n, c), 0, bytes);
    }
}

/* The gradient of a part of what merge read at scale s. */
static Act joined_gradient(const UNet *u, const real *joined, size_t s, bool of_down) {
  Act a = u->joined[s];
  a.data = (real *)joined;
  size_t below = u->channels[s + 1];
  return of_down ? act_channels(&a, below, u->channels[s]) : act_channels(&a, 0, below);
}

/* Add to d the gradient of the features of scale s, from that of the enlarged ones. */
static void shrink_gradient(const Act *dup, const Act *d, real *room, int threads) {
  static const Layer twice = {.geometry = {.sh = 2, .sw = 2}};
  Act small = *d;
  small.data = room;
  layer_upsample.backward(&twice, &small, dup, dup, &small, NULL, NULL, threads);
  each_channel(&small, d, add_to, threads);
}

/* Has the last forward made this scale on its way up? */
static bool was_up(const UNet *u, size_t s) { return has_up(u, s) && s >= u->made; }

/* A scale on the way up; leaves the gradient of what its merge read in joined. */
static void back_up(UNet *u, size_t s, const UNetAsked *asked, real *joined[],
                    const Gradients *g) {
  take(&asked->features[s], &g->out, g->threads);
  if (s > u->made) {
    Act dup = joined_gradient(u, joined[s - 1], s - 1, false);
    shrink_gradient(&dup, &g->out, g->mid.data, g->threads);
  }
  block_backward(&u->up[s], &u->ups[s], g);
  Act d = u->joined[s];
  d.data = joined[s];
  conv_back(&u->merge[s], &u->joined[s], &u->ups[s].in, &g->out, &d, g);
}

/* d += the gradient of the mean of each plane, shared out to its pixels. */
static void pool_backward(const real *dpooled, const Act *d) {
  real share = 1 / (real)(d->h * d->w);
  for (size_t n = 0; n < d->n; n++)
    for (size_t c = 0; c < d->c; c++, dpooled++)
      for (size_t i = 0; i < d->h * d->w; i++) act_plane(d, n, c)[i] += *dpooled * share;
}

/* The gradient of what comes out of the coarsest scale. */
static void begin_down(const UNet *u, const UNetAsked *asked, real *joined[],
                       const Gradients *g) {
  size_t s = u->scales - 1;
  take(&asked->features[s], &g->out, g->threads);
  if (asked->pooled != NULL) pool_backward(asked->pooled, &g->out);
  if (s == u->made) return;
  Act dup = joined_gradient(u, joined[s - 1], s - 1, false);
  shrink_gradient(&dup, &g->out, g->mid.data, g->threads);
}

/* A scale on the way down; `kept` holds what the coarser one left, and is left so. */
static void back_down(UNet *u, size_t s, const UNetAsked *asked, real *joined[],
                      real *kept, const Gradients *g) {
  if (s + 1 == u->scales)
    begin_down(u, asked, joined, g);
  else
    take(&(Act){.data = kept, .ns = g->out.ns, .cs = g->out.cs}, &g->out, g->threads);
  if (was_up(u, s)) {
    Act d = joined_gradient(u, joined[s], s, true);
    each_channel(&d, &g->out, add_to, g->threads);
  }
  block_backward(&u->down[s], &u->downs[s], g);
  if (s == 0) {
    conv_back(&u->stem, asked->x, &u->downs[0].in, &g->out, asked->dx, g);
    return;
  }
  const Act *in = &u->downs[s - 1].out;
  Act din = act_cnhw(kept, in->n, in->c, in->h, in->w);
  conv_back(&u->shrink[s], in, &u->downs[s].in, &g->out, &din, g);
}

static size_t ups_count(const UNet *u) { return u->scales - 1 - u->finest; }

size_t unet_stages(const UNet *u) { return ups_count(u) + u->scales; }

void unet_backward_stage(UNet *u, size_t stage, const UNetAsked *asked, real *room,
                         real *scratch, int threads) {
  real *joined[UNET_SCALES] = {0}, *rest = room + 4 * u->most;
  for (size_t s = 0; s < u->scales; s++)
    if (was_up(u, s)) {
      joined[s] = rest;
      rest += round_up(act_count(&u->joined[s]));
    }
  size_t ups = ups_count(u),
         s = stage < ups ? u->finest + stage : u->scales - 1 - (stage - ups);
  const Act *out = stage < ups ? &u->ups[s].out : &u->downs[s].out;
  Gradients g = gradients_like(out, u, room, scratch, threads);
  if (stage >= ups)
    back_down(u, s, asked, joined, room + 3 * u->most, &g);
  else if (was_up(u, s))
    back_up(u, s, asked, joined, &g);
}

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
 * out, of what lies inside it; a result that is put elsewhere; what one scale leaves to
 * the next; and of what merge read at each scale. */
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

static void conv(const Layer *l, const Act *in, const Act *out, const Put *put,
                 real *scratch, int threads) {
  conv2d_forward_put(l, in, out, put, scratch, threads);
}

/* A block, from a and what lies beside it, relu(a). */
static void block_forward(const UNetBlock *b, const Act *a, const UNetActs *v,
                          real *scratch, int threads) {
  const Put inside = {.how = PUT_RELU}, sum = {.how = PUT_ADD_RELU, .other = *a};
  conv(&b->conv1, &v->in, &v->mid, &inside, scratch, threads);
  conv(&b->conv2, &v->mid, &v->out, &sum, scratch, threads);
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
    const Put beside = {.how = PUT_BESIDE, .other = u->downs[s].in};
    a.data = scratch;
    if (s == 0)
      conv(&u->stem, x, &a, &beside, rest, threads);
    else
      conv(&u->shrink[s], &u->downs[s - 1].out, &a, &beside, rest, threads);
    block_forward(&u->down[s], &a, &u->downs[s], rest, threads);
  }
  for (size_t s = u->scales - 1; s-- > made;) {
    Act a = u->ups[s].in, up = act_channels(&u->joined[s], 0, u->channels[s + 1]);
    const Put beside = {.how = PUT_BESIDE, .other = u->ups[s].in};
    a.data = scratch;
    enlarge(unet_features(u, s + 1), &up, threads);
    conv(&u->merge[s], &u->joined[s], &a, &beside, rest, threads);
    block_forward(&u->up[s], &a, &u->ups[s], rest, threads);
  }
}

void unet_copy_features(const UNet *u, const Act *to, int threads) {
#pragma omp parallel num_threads(threads)
  for (size_t s = u->made; s < u->scales; s++) {
    const Act *from = unet_features(u, s);
    size_t bytes = from->h * from->w * sizeof(real);
#pragma omp for collapse(2) schedule(static) nowait
    for (size_t n = 0; n < from->n; n++)
      for (size_t c = 0; c < from->c; c++)
        memcpy(act_plane(to + s, n, c), act_plane(from, n, c), bytes);
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

static void conv_back(const Layer *l, const Act *in, const Act *dout, const Act *din,
                      const Put *put, const Gradients *g) {
  conv2d_backward_put(l, in, dout, din, put, g->rest, g->threads);
}

/* g->out, the gradient of what comes out of the block where that is above 0, becomes that
 * of the block's input, a. */
static void block_backward(const UNetBlock *b, const UNetActs *v, const Gradients *g) {
  const Put inside = {.how = PUT_MASKED, .other = v->mid};
  const Put sum = {.how = PUT_ADD_MASKED, .other = v->in, .room = g->in.data};
  conv_back(&b->conv2, &v->mid, &g->out, &g->mid, &inside, g);
  conv_back(&b->conv1, &v->in, &g->mid, &g->out, &sum, g);
}

/* What the gradient of a block's output is the sum of, each NULL or with data NULL where
 * there is none: what is given or kept, that of what is pooled, that of the enlarged
 * features, that of what merge read. */
typedef struct Terms {
  const real *pooled;
  Act first, enlarged, joined;
} Terms;

/* d += the sums over blocks of 2×2 */
CLONES static void add_blocks(const real *blocks, real *d, size_t h, size_t w) {
  for (size_t y = 0; y < h; y++, d += w, blocks += 4 * w)
    for (size_t x = 0; x < w; x++) {
      const real *top = blocks + 2 * x, *bottom = top + 2 * w;
      d[x] += ((0 + top[0] + top[1]) + bottom[0]) + bottom[1];
    }
}

/* A plane of the gradient d of a block's output, `out`. */
static void begin_plane(const Terms *t, const Act *out, const Act *d, size_t n,
                        size_t c) {
  size_t pixels = d->h * d->w;
  real *to = act_plane(d, n, c);
  if (t->first.data != NULL)
    memcpy(to, act_plane(&t->first, n, c), pixels * sizeof *to);
  else
    memset(to, 0, pixels * sizeof *to);
  if (t->pooled != NULL) { /* shared out to the pixels */
    real share = t->pooled[n * d->c + c] * (1 / (real)pixels);
    for (size_t i = 0; i < pixels; i++) to[i] += share;
  }
  if (t->enlarged.data != NULL) add_blocks(act_plane(&t->enlarged, n, c), to, d->h, d->w);
  if (t->joined.data != NULL) axpy_range(to, act_plane(&t->joined, n, c), 1, pixels);
  put_rows(PUT_MASKED, to, 0, 1, pixels, to, 0, act_plane(out, n, c), 0);
}

/* The gradient of a block's output, 0 where relu is. */
static void begin_block(const Terms *t, const Act *out, const Gradients *g) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(g->threads)
  for (size_t c = 0; c < g->out.c; c++)
    for (size_t n = 0; n < g->out.n; n++) begin_plane(t, out, &g->out, n, c);
}

/* The gradient of a part of what merge read at scale s. */
static Act joined_gradient(const UNet *u, const real *joined, size_t s, bool of_down) {
  Act a = u->joined[s];
  a.data = (real *)joined;
  size_t below = u->channels[s + 1];
  return of_down ? act_channels(&a, below, u->channels[s]) : act_channels(&a, 0, below);
}

/* Has the last forward made this scale on its way up? */
static bool was_up(const UNet *u, size_t s) { return has_up(u, s) && s >= u->made; }

/* A scale on the way up; leaves the gradient of what its merge read in joined. */
static void back_up(UNet *u, size_t s, const UNetAsked *asked, real *joined[],
                    const Gradients *g) {
  Terms terms = {.first = asked->features[s]};
  if (s > u->made) terms.enlarged = joined_gradient(u, joined[s - 1], s - 1, false);
  begin_block(&terms, &u->ups[s].out, g);
  block_backward(&u->up[s], &u->ups[s], g);
  Act d = u->joined[s];
  d.data = joined[s];
  conv_back(&u->merge[s], &u->joined[s], &g->out, &d, &plainly, g);
}

/* A scale on the way down; `kept` holds what the coarser one left, and is left so. */
static void back_down(UNet *u, size_t s, const UNetAsked *asked, real *joined[],
                      real *kept, const Gradients *g) {
  Terms terms = {.first = g->out};
  if (s + 1 < u->scales) {
    terms.first.data = kept;
  } else { /* what comes out of the coarsest */
    terms.first = asked->features[s];
    terms.pooled = asked->pooled;
    if (s != u->made) terms.enlarged = joined_gradient(u, joined[s - 1], s - 1, false);
  }
  if (was_up(u, s)) terms.joined = joined_gradient(u, joined[s], s, true);
  begin_block(&terms, &u->downs[s].out, g);
  block_backward(&u->down[s], &u->downs[s], g);
  if (s == 0) {
    conv_back(&u->stem, asked->x, &g->out, asked->dx, &plainly, g);
    return;
  }
  const Act *in = &u->downs[s - 1].out;
  Act din = act_cnhw(kept, in->n, in->c, in->h, in->w);
  conv_back(&u->shrink[s], in, &g->out, &din, &plainly, g);
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

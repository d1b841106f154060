#include "net.h"

#include <stdio.h>
#include <string.h>

static inline size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* Keep every buffer 64-byte aligned. */
static inline size_t round_up(size_t n) { return (n + 15) & ~(size_t)15; }

/* n·c·h·w as a size that BLAS's int can index. */
static bool fits(size_t n, const Shape *s) {
  size_t total;
  return !__builtin_mul_overflow(n, s->c, &total) &&
         !__builtin_mul_overflow(total, s->h, &total) &&
         !__builtin_mul_overflow(total, s->w, &total) && total < INT32_MAX;
}

/* Does the group of in-place layers that node i begins end the network, or
 * feed a layer that wants whole samples? */
static bool ends_in_samples(const Net *net, size_t i, bool *last) {
  while (i + 1 < net->count && net->node[i + 1].in_place) i++;
  *last = i + 1 == net->count;
  return *last || net->node[i + 1].layer->ops->wants_samples;
}

static void place(Net *net, size_t i, const Shape *s) {
  NetNode *v = &net->node[i];
  if (v->in_place) {
    v->out = net->node[i - 1].out;
    v->offset = net->node[i - 1].offset;
    v->in_output = net->node[i - 1].in_output;
    return;
  }
  bool samples = ends_in_samples(net, i, &v->in_output) || s->flat;
  v->out = samples ? act_nchw(NULL, net->n, s->c, s->h, s->w)
                   : act_cnhw(NULL, net->n, s->c, s->h, s->w);
  v->offset = net->arena;
  if (!v->in_output) net->arena += round_up(net->n * shape_count(s));
}

static const Act *input_of(const Net *net, size_t i) {
  return i == 0 ? &net->in : &net->node[i - 1].out;
}

static bool halves(const Net *net, size_t i) {
  const NetNode *v = &net->node[i];
  const Act *in = input_of(net, i);
  return v->layer->ops == &layer_conv2d && conv_halves(&v->layer->geometry, in->h, in->w);
}

/* Where halving convolutions follow each other, with nothing but in-place layers
 * between, let each leave its pixels as the next one reads them. */
static void nest_pixels(Net *net) {
  for (size_t i = net->count; i-- > 0;) {
    size_t next = i + 1;
    while (next < net->count && net->node[next].in_place) next++;
    if (!halves(net, i) || next == net->count || !halves(net, next)) continue;
    for (size_t k = i; k < next; k++) net->node[k].out.nest = 1 + net->node[next].out.nest;
  }
}

static bool same_shape(const Shape *a, const Shape *b) {
  return a->c == b->c && a->h == b->h && a->w == b->w && a->flat == b->flat;
}

static bool too_many(char *why, const char *what, size_t n, const Shape *s) {
  snprintf(why, NET_WHY, "%s%zux%zux%zux%zu activations are too many", what, n, s->c, s->h,
           s->w);
  return false;
}

bool net_output_shape(const Net *net, size_t n, const Shape *in, Shape *out, char *why) {
  *out = *in;
  for (size_t i = 0; i < net->count; i++) {
    const Layer *l = net->node[i].layer;
    Shape s = *out;
    char reason[160], at[40];
    if (!l->ops->shape(l, &s, out, reason)) {
      snprintf(why, NET_WHY, "layer %zu: %s", i + 1, reason);
      return false;
    }
    snprintf(at, sizeof at, "layer %zu: ", i + 1);
    if (!fits(n, out)) return too_many(why, at, n, out);
  }
  return fits(n, in) || too_many(why, "", n, in);
}

bool net_plan(Net *net, size_t n, const Shape *in, char *why) {
  if (net->planned && net->n == n && same_shape(&net->in_shape, in)) return true;
  net->planned = net->ran = false;
  if (!net_output_shape(net, n, in, &net->out_shape, why)) return false;
  net->n = n;
  net->in_shape = *in;
  net->arena = net->grad = 0;
  net->in = act_nchw(NULL, n, in->c, in->h, in->w);
  Shape s = *in;
  for (size_t i = 0; i < net->count; i++) {
    NetNode *v = &net->node[i];
    v->in_place = v->layer->ops->in_place && i > 0 &&
                  !net->node[i - 1].layer->ops->needs_out;
  }
  for (size_t i = 0; i < net->count; i++) {
    const Layer *l = net->node[i].layer;
    Shape from = s;
    l->ops->shape(l, &from, &s, why);
    place(net, i, &s);
    net->grad = max_size(net->grad, round_up(n * shape_count(&s)));
  }
  nest_pixels(net);
  net->out = act_nchw(NULL, n, s.c, s.h, s.w);
  net->planned = true;
  return true;
}

static size_t layer_scratch(const Net *net, int threads) {
  size_t most = 0;
  for (size_t i = 0; i < net->count; i++) {
    const NetNode *v = &net->node[i];
    most = max_size(most, v->layer->ops->scratch(v->layer, input_of(net, i),
                                                 &v->out, threads));
  }
  return round_up(most);
}

size_t net_forward_scratch(const Net *net, int threads) {
  return layer_scratch(net, threads);
}

size_t net_backward_scratch(const Net *net, int threads) {
  return layer_scratch(net, threads) + 2 * net->grad;
}

void net_forward(Net *net, real *in, real *out, real *arena, const real *cols,
                 real *scratch, int threads) {
  net->in.data = in;
  net->out.data = out;
  for (size_t i = 0; i < net->count; i++) {
    NetNode *v = &net->node[i];
    v->out.data = v->in_output ? out : arena + v->offset;
    v->layer->ops->forward(v->layer, input_of(net, i), &v->out,
                           i == 0 ? cols : NULL, scratch, threads);
  }
  net->ran = true;
}

void net_backward(Net *net, real *dout, real *din, const real *cols,
                  real *scratch, int threads) {
  real *buffer[2] = {scratch, scratch + net->grad};
  real *rest = scratch + 2 * net->grad;
  Act grad = net->out;
  grad.data = dout;
  for (size_t i = net->count; i-- > 0;) {
    const NetNode *v = &net->node[i];
    Act next = *input_of(net, i);
    next.data = i == 0 ? din : buffer[i & 1];
    v->layer->ops->backward(v->layer, input_of(net, i), &v->out, &grad,
                            next.data ? &next : NULL, i == 0 ? cols : NULL, rest,
                            threads);
    grad = next;
  }
}

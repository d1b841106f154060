/* A network: the plan of a batch, and the passes over its layers. */
#include "nn/net.h"

#include <stdio.h>

#include "base/size.h"
#include "optim/deferred.h"

/* n·c·h·w as a size that BLAS's int can index. */
static bool fits(size_t n, const Shape *s) {
  size_t total;
  return checked_mul(n, s->c, &total) && checked_mul(total, s->h, &total) &&
         checked_mul(total, s->w, &total) && total < INT32_MAX;
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
  net->grad = max_size(net->grad, round_up(net->n * shape_count(s)));
}

/* A node between convolutions that are run as one has a shape but no place. */
static void pass_by(Net *net, size_t i, const Shape *s) {
  net->node[i].in_output = false;
  net->node[i].out = act_cnhw(NULL, net->n, s->c, s->h, s->w);
}

static const Act *input_of(const Net *net, size_t i) {
  return i == 0 ? &net->in : &net->node[i - 1].out;
}

static bool occurs_between(const Net *net, size_t i, size_t end) {
  for (size_t k = i; k < end; k++)
    if (net->node[k].layer == net->node[end].layer) return true;
  return false;
}

static size_t after_relu(const Net *net, size_t i) {
  return i < net->count && net->node[i].in_place ? i + 1 : i;
}

/* Convolutions that run as one from node i on, which reads `in`: one of any kind and
 * those whose kernels tile what comes out, or only the latter.  Returns the node
 * after them; i if there are none. */
static size_t chain_from(const Net *net, size_t i, const Shape *in, ConvChain *v) {
  Shape s = *in;
  char why[NET_WHY];
  bool tiles = false;
  size_t end = i;
  *v = (ConvChain){0};
  while (end < net->count && net->node[end].layer->ops->convolves) {
    const Layer *l = net->node[end].layer;
    bool tile = conv_chain_tiles(l, s.h, s.w);
    Shape from = s;
    if ((end > i && !tile) || occurs_between(net, i, end)) break;
    l->ops->shape(l, &from, &s, why);
    if (!conv_chain_add(v, l, net->n, s.h, s.w)) break;
    tiles = tiles || tile;
    end = after_relu(net, end + 1);
    v->stage[v->depth - 1].relu = net->node[end - 1].in_place;
  }
  return tiles ? end : i;
}

/* See that nodes first .. end-1 are run as one, or node `first` alone. */
static void tie(Net *net, size_t first, size_t end, const ConvChain *v) {
  size_t last = end > first ? end - 1 : first;
  net->node[first].other = last;
  net->node[last].other = first;
  net->node[first].chain = end > first ? *v : (ConvChain){0};
}

static inline bool as_chain(const NetNode *v) { return v->chain.depth > 0; }

/* Place what node i computes alone, or it and those it is run with; *s: the shape
 * of its input, then of the last output.  Returns the node after. */
static size_t place_from(Net *net, size_t i, Shape *s, char *why) {
  ConvChain v;
  size_t end = chain_from(net, i, s, &v), last = end > i ? end - 1 : i;
  bool relu = last > i && net->node[last].in_place;
  tie(net, i, end, &v);
  for (size_t k = i; k <= last; k++) {
    Shape from = *s;
    net->node[k].layer->ops->shape(net->node[k].layer, &from, s, why);
    if (k + (relu ? 1 : 0) < last)
      pass_by(net, k, s);
    else
      place(net, k, s);
  }
  if (end > i) {
    net->node[i].kept = net->arena;
    net->arena += round_up(conv_chain_kept(&v));
  }
  return last + 1;
}

static bool same_shape(const Shape *a, const Shape *b) {
  return a->c == b->c && a->h == b->h && a->w == b->w && a->flat == b->flat;
}

static bool too_many(char *why, const char *what, size_t n, const Shape *s) {
  snprintf(why, NET_WHY, "%s%zux%zux%zux%zu activations are too many", what, n, s->c,
           s->h, s->w);
  return false;
}

bool net_output_shape(const Net *net, size_t n, const Shape *in, Shape *out, char *why) {
  *out = *in;
  for (size_t i = 0; i < net->count; i++) {
    const Layer *l = net->node[i].layer;
    Shape s = *out;
    char reason[LAYER_WHY], at[40];
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
    v->in_place =
        v->layer->ops->in_place && i > 0 && !net->node[i - 1].layer->ops->needs_out;
  }
  for (size_t i = 0; i < net->count;) i = place_from(net, i, &s, why);
  net->out = act_nchw(NULL, n, s.c, s.h, s.w);
  net->planned = true;
  return true;
}

static size_t layer_scratch(const Net *net, int threads) {
  size_t most = 0;
  for (size_t i = 0; i < net->count; i = net->node[i].other + 1) {
    const NetNode *v = &net->node[i];
    if (as_chain(v)) {
      most = max_size(most, conv_chain_scratch(&v->chain, threads));
    } else {
      most = max_size(
          most, v->layer->ops->scratch(v->layer, input_of(net, i), &v->out, threads));
    }
  }
  return round_up(most);
}

size_t net_forward_scratch(const Net *net, int threads) {
  return layer_scratch(net, threads);
}

size_t net_backward_scratch(const Net *net, int threads) {
  return layer_scratch(net, threads) + 2 * net->grad;
}

size_t net_columns_count(const Net *net) {
  const NetNode *v = &net->node[0];
  if (as_chain(v)) return conv_chain_columns_count(&v->chain);
  const ConvGeometry *g = &v->layer->geometry;
  return v->layer->ops->convolves ? net->in.c * g->kh * g->kw * act_pixels(&v->out) : 0;
}

bool net_same_columns(const Net *a, const Net *b) {
  const NetNode *v = &a->node[0], *w = &b->node[0];
  if (!v->layer->ops->convolves || !w->layer->ops->convolves) return false;
  if (as_chain(v) || as_chain(w)) return conv_chain_same_columns(&v->chain, &w->chain);
  return conv_same_geometry(&v->layer->geometry, &w->layer->geometry);
}

/* The columns of a first convolution that is no chain, channel by channel. */
static void plain_columns(const Act *x, const NetNode *v, real *cols, int threads) {
  const ConvGeometry *g = &v->layer->geometry;
  size_t ld = act_pixels(&v->out);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (ptrdiff_t c = 0; c < (ptrdiff_t)x->c; c++) {
    Act one = act_channels(x, (size_t)c, 1);
    im2col(&one, g, v->out.h, v->out.w, 0, x->n * v->out.h,
           cols + (size_t)c * g->kh * g->kw * ld, ld);
  }
}

void net_columns(const Net *net, real *in, real *cols, int threads) {
  const NetNode *v = &net->node[0];
  Act x = net->in;
  x.data = in;
  if (as_chain(v))
    conv_chain_columns(&v->chain, &x, cols, threads);
  else
    plain_columns(&x, v, cols, threads);
}

/* Half of a small second-level cache. */
#define PREFETCH_MOST ((size_t)512 << 10)

/* Add a range, but no more of it than `most` bytes and what is left of PREFETCH_MOST. */
static void add_range(Ranges *s, const real *p, size_t count, size_t most) {
  Range range = range_of(p, count);
  size_t left = PREFETCH_MOST;
  for (size_t i = 0; i < s->count; i++) left -= s->range[i].bytes;
  if (most > left) most = left;
  if (s->count == MOST_RANGES || most == 0) return;
  if (range.bytes > most) range.bytes = most;
  s->range[s->count++] = range;
}

/* What is worth fetching before node i runs: a weight that it reads whole, and what the
 * step reads that is due for it. */
static Ranges weight_reads(const Net *net, size_t i) {
  Ranges s = {0};
  if (i >= net->count || !net->node[i].layer->ops->reads_whole) return s;
  const Param *w = net->node[i].layer->weight;
  size_t each = PREFETCH_MOST / (param_is_due(w) ? 3 : 1);
  add_range(&s, w->value, w->count, each);
  for (size_t k = 0; param_is_due(w) && k < 2; k++)
    add_range(&s, w->step.reads[k], w->count, each);
  return s;
}

Ranges net_backward_reads(const Net *net) {
  Ranges s = {0};
  for (size_t i = net->count; i-- > 0;) {
    const Layer *l = net->node[i].layer;
    if (l->ops->reads_whole)
      add_range(&s, l->weight->value, l->weight->count, PREFETCH_MOST);
    else if (l->weight != NULL)
      break;
  }
  return s;
}

void net_forward(Net *net, real *in, real *out, real *arena, const real *cols,
                 real *scratch, int threads) {
  net->in.data = in;
  net->out.data = out;
  for (size_t i = 0, last; i < net->count; i = last + 1, cols = NULL) {
    const NetNode *v = &net->node[i];
    last = v->other;
    NetNode *end = &net->node[last];
    end->out.data = end->in_output ? out : arena + end->offset;
    if (as_chain(v)) {
      Ranges later = weight_reads(net, last + 1);
      conv_chain_forward(&v->chain, input_of(net, i), &end->out, arena + v->kept, cols,
                         &later, scratch, threads);
    } else {
      v->layer->ops->forward(v->layer, input_of(net, i), &v->out, cols, scratch, threads);
    }
  }
  net->ran = true;
}

void net_backward(Net *net, real *dout, real *din, const real *arena, const real *cols,
                  const Ranges *later, real *scratch, int threads) {
  const Ranges none = {0};
  real *buffer[2] = {scratch, scratch + net->grad};
  real *rest = scratch + 2 * net->grad;
  Act grad = net->out;
  grad.data = dout;
  for (size_t last = net->count, turn = 0; last-- > 0; turn ^= 1) {
    const NetNode *end = &net->node[last];
    size_t i = end->other;
    const NetNode *v = &net->node[i];
    Act next = *input_of(net, i);
    next.data = i == 0 ? din : buffer[turn];
    Act *wanted = next.data ? &next : NULL;
    const real *own_cols = i == 0 ? cols : NULL;
    if (as_chain(v)) {
      conv_chain_backward(&v->chain, input_of(net, i), &end->out, &grad, wanted,
                          arena + v->kept, own_cols, i == 0 ? later : &none, rest,
                          threads);
    } else {
      v->layer->ops->backward(v->layer, input_of(net, i), &v->out, &grad, wanted,
                              own_cols, rest, threads);
    }
    grad = next;
    last = i;
  }
}

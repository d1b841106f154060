/* Convolutions whose kernels do not overlap, forward: group by group. */
#include "nn/conv_chain.h"

#include "base/threads.h"
#include "math/panel_ops.h"

/* ---- the plan ---- */

static inline size_t kernel_pixels(const Layer *l) {
  return l->geometry.kh * l->geometry.kw;
}

bool conv_chain_tiles(const Layer *l, size_t h, size_t w) {
  const ConvGeometry *g = &l->geometry;
  return l->ops->convolves && kernel_pixels(l) > 1 && g->sh == g->kh && g->sw == g->kw &&
         g->ph == 0 && g->pw == 0 && h > 0 && w > 0 && h % g->kh == 0 && w % g->kw == 0;
}

bool conv_chain_add(ConvChain *v, const Layer *conv, size_t n, size_t h, size_t w) {
  size_t window = kernel_pixels(conv);
  if (v->depth == CHAIN_STAGES || window * conv->in > CHAIN_COLUMN) return false;
  if (v->depth > 0 && v->stage[0].panels * window > CHAIN_PIXELS) return false;
  for (size_t i = 0; i < v->depth; i++) v->stage[i].panels *= window;
  if (v->depth > 0) v->stage[v->depth - 1].window = window;
  v->stage[v->depth++] = (ChainStage){conv, false, window * conv->in, conv->out, 1, 1};
  v->n = n, v->h = h, v->w = w;
  return true;
}

size_t conv_chain_kept(const ConvChain *v) { return chain_groups(v) * group_kept(v); }

size_t conv_chain_columns_count(const ConvChain *v) {
  return chain_groups(v) * column_reals(v->stage);
}

size_t conv_chain_scratch(const ConvChain *v, int threads) {
  return max_size(chain_pairs(v, false), chain_pairs(v, true)) +
         thread_reals(v) * (size_t)threads + gradient_reals(v) * chain_parts(v);
}

void chain_make_pairs(const ConvChain *v, bool columns, real *pairs) {
  for (size_t i = 0; i < v->depth; i++) {
    const ChainStage *s = v->stage + i;
    const real *weight = s->conv->weight->value;
    if (!stage_in_pairs(s)) continue;
    if (columns)
      pairs_of_columns(s->columns, s->out, left_columns(weight, s->columns), pairs,
                       pair_row(s, true));
    else
      pairs_of_rows(s->out, s->columns, left_rows(weight, s->columns), pairs,
                    pair_row(s, false));
    pairs += stage_pairs(s, columns);
  }
}

/* ---- forward ---- */

/* Rounds of all products of a group, in which something can be prefetched. */
static size_t forward_rounds(const ConvChain *v) {
  size_t rounds = 0;
  for (size_t i = 0; i < v->depth; i++) {
    const ChainStage *s = v->stage + i;
    rounds += s->panels * product_rounds(s->out, PANEL, s->columns);
  }
  return rounds;
}

/* What is read and written next: the next group's columns and what it keeps, or, after
 * the last, what `later` says. */
static Ranges forward_next(const ConvChain *v, size_t g, const real *cols,
                           const real *kept, const Ranges *later) {
  Ranges s = {0};
  if (++g == chain_groups(v)) return *later;
  if (cols != NULL)
    s.range[s.count++] =
        range_of(cols + g * column_reals(v->stage), column_reals(v->stage));
  if (v->depth > 1)
    s.range[s.count++] = range_of(kept + g * group_kept(v), group_kept(v));
  return s;
}

static void stage_forward(const ChainStage *s, size_t n, const real *pairs, const real *x,
                          real *y, Prefetch *f) {
  const real *bias = s->conv->bias ? s->conv->bias->value : NULL;
  Left weight = stage_in_pairs(s) ? left_pairs(pairs, pair_row(s, false))
                                  : left_rows(s->conv->weight->value, s->columns);
  for (size_t t = 0; t < s->panels; t++, x += s->columns * PANEL) {
    real *to = output_panel(s, y, t);
    panel_product_prefetching(s->conv->geometry.precision, s->out, whole_halves(n),
                              s->columns, weight, x, PANEL, bias, to, output_row(s), f);
    relu_panel(to, s->out, output_row(s), n, s->relu);
  }
}

void conv_chain_forward(const ConvChain *v, const Act *in, const Act *out, real *kept,
                        const real *cols, const Ranges *later, real *scratch,
                        int threads) {
  real *pairs = scratch;
  chain_make_pairs(v, false, pairs);
  scratch += chain_pairs(v, false);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index g = 0; g < (Index)chain_groups(v); g++) {
    real *own = chain_thread_scratch(v, scratch, threads > 1 ? omp_get_thread_num() : 0);
    real *y = kept + (size_t)g * group_kept(v), *last = own + column_reals(v->stage);
    const real *x = cols ? cols + (size_t)g * column_reals(v->stage) : own;
    Ranges next = forward_next(v, (size_t)g, cols, kept, later);
    Prefetch fetch = prefetch_in(next.range, next.count, forward_rounds(v));
    if (cols == NULL) chain_group_columns(v, in, (size_t)g, own, false);
    for (size_t i = 0; i < v->depth; i++) {
      if (i + 1 == v->depth) y = last;
      stage_forward(v->stage + i, group_pixels(v, (size_t)g),
                    chain_pairs_of(v, i, false, pairs), x, y, &fetch);
      x = y;
      y += output_reals(v->stage + i);
    }
    chain_panel_back(v, last, (size_t)g, out);
  }
}

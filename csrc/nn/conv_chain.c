#include "nn/conv_chain.h"

#include "base/threads.h"
#include "nn/conv_chain_groups.h"
#include "math/panel_ops.h"

/* ---- the plan ---- */

static inline size_t kernel_pixels(const Layer *l) {
  return l->geometry.kh * l->geometry.kw;
}

bool patches_tile(const Layer *l, size_t h, size_t w) {
  const ConvGeometry *g = &l->geometry;
  return l->ops == &layer_conv2d && kernel_pixels(l) > 1 && g->sh == g->kh &&
         g->sw == g->kw && g->ph == 0 && g->pw == 0 && h > 0 && w > 0 && h % g->kh == 0 &&
         w % g->kw == 0;
}

bool patches_add(Patches *v, const Layer *conv, size_t n, size_t h, size_t w) {
  size_t taps = kernel_pixels(conv);
  if (v->depth == PATCHES_STAGES || taps * conv->in > PATCHES_COLUMN) return false;
  if (v->depth > 0 && v->stage[0].panels * taps > PATCHES_PIXELS) return false;
  for (size_t i = 0; i < v->depth; i++) v->stage[i].panels *= taps;
  if (v->depth > 0) v->stage[v->depth - 1].taps = taps;
  v->stage[v->depth++] = (PatchStage){conv, false, taps * conv->in, conv->out, 1, 1};
  v->n = n, v->h = h, v->w = w;
  return true;
}

size_t patches_kept(const Patches *v) { return patch_groups(v) * group_kept(v); }

size_t patches_columns_count(const Patches *v) {
  return patch_groups(v) * column_reals(v->stage);
}

size_t patches_scratch(const Patches *v, int threads) {
  return thread_reals(v) * (size_t)threads + gradient_reals(v) * patch_parts(v);
}

/* ---- forward ---- */

/* Of the products of a group. */
static size_t forward_rounds(const Patches *v) {
  size_t rounds = 0;
  for (size_t i = 0; i < v->depth; i++) {
    const PatchStage *s = v->stage + i;
    rounds += s->panels * product_rounds(s->out, PANEL, s->columns);
  }
  return rounds;
}

/* What is read and written next: the next group's columns and what it keeps, or, after
 * the last, what `soon` says. */
static Spans forward_soon(const Patches *v, size_t g, const real *cols, const real *kept,
                          const Spans *soon) {
  Spans s = {0};
  if (++g == patch_groups(v)) return *soon;
  if (cols != NULL)
    s.span[s.count++] =
        span_of(cols + g * column_reals(v->stage), column_reals(v->stage));
  if (v->depth > 1) s.span[s.count++] = span_of(kept + g * group_kept(v), group_kept(v));
  return s;
}

static void stage_forward(const PatchStage *s, size_t n, const real *x, real *y,
                          Fetch *f) {
  const real *bias = s->conv->bias ? s->conv->bias->value : NULL;
  for (size_t t = 0; t < s->panels; t++, x += s->columns * PANEL) {
    real *to = output_panel(s, y, t);
    panel_product_fetching(s->out, whole_halves(n), s->columns,
                           left_rows(s->conv->weight->value, s->columns), x, PANEL, bias,
                           to, output_row(s), f);
    relu_panel(to, s->out, output_row(s), n, s->relu);
  }
}

void patches_forward(const Patches *v, const Act *in, const Act *out, real *kept,
                     const real *cols, const Spans *soon, real *scratch, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index g = 0; g < (Index)patch_groups(v); g++) {
    real *own = thread_scratch(v, scratch, threads > 1 ? omp_get_thread_num() : 0);
    real *y = kept + (size_t)g * group_kept(v), *last = own + column_reals(v->stage);
    const real *x = cols ? cols + (size_t)g * column_reals(v->stage) : own;
    Spans next = forward_soon(v, (size_t)g, cols, kept, soon);
    Fetch fetch = fetch_in(next.span, next.count, forward_rounds(v));
    if (cols == NULL) patches_group_columns(v, in, (size_t)g, own, false);
    for (size_t i = 0; i < v->depth; i++) {
      if (i + 1 == v->depth) y = last;
      stage_forward(v->stage + i, group_pixels(v, (size_t)g), x, y, &fetch);
      x = y;
      y += output_reals(v->stage + i);
    }
    patches_panel_back(v, last, (size_t)g, out);
  }
}

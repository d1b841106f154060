/* The backward pass of nn/conv_chain.h. */
#include <string.h>

#include "base/threads.h"
#include "math/elementwise.h"
#include "math/panel_ops.h"
#include "nn/conv_chain.h"

/* Where a stage's gradients are summed. */
typedef struct StageGradient {
  real *dw, *db;
  bool begun;  /* dw holds a sum already; db always does */
  bool turned; /* dw is [columns][out] */
  bool own;    /* dw is to be added to the parameter's gradient, not that itself */
} StageGradient;

/* dw = Σ d·xᵀ needs pixels as rows of its right factor.  If that is d, the smaller of
 * the two, dw is summed as [columns][out]: better with many channels, unless it is so
 * large that turning it back takes as long, as it does after a single part. */
static bool sums_turned(const ConvChain *v, const ChainStage *s) {
  return s->out >= PANEL && (s->columns < PANEL || chain_parts(v) > 1);
}

/* The products of a weight's gradient: a left factor, and panels that are turned, whose
 * rows lie `row` apart, a panel `next` behind the one before. */
typedef struct TurnedSum {
  Precision how;
  Left left;
  const real *panels;
  size_t row, next;
  size_t wide, count; /* pixels of a panel that count; panels */
} TurnedSum;

/* c[rows][columns], its rows `ld` apart, (+)= the left factor times the panels. */
static void sum_turned(const TurnedSum *s, size_t rows, size_t columns, bool add, real *c,
                       size_t ld, real *room, Prefetch *f) {
  real *turned = room;
  Left left = s->left;
  size_t k = s->count * s->wide, pairs_ld = pairs_row(k);
  bool pairs = rounds_to_pairs(s->how);
  size_t size = (pairs ? s->wide / 2 : s->wide) * PANEL;
  if (pairs) {
    room += TURN_PANELS * PANEL * PANEL;
    pairs_of_rows(rows, k, left, room, pairs_ld);
    left = left_pairs(room, pairs_ld);
  }
  for (size_t j = 0; j < columns; j += PANEL) {
    size_t some = columns - j < PANEL ? columns - j : PANEL;
    real *to = c + j;
    const real *start = add ? to : NULL;
    for (size_t i = 0; i < s->count; i++)
      (pairs ? pairs_transpose : panel_transpose)(
          s->panels + i * s->next + j * s->row, s->row, s->wide, some, turned + i * size);
    if (pairs)
      pairs_product(rows, some, k, left, turned, PANEL, start, to, ld, f);
    else
      panel_product_prefetching(s->how, rows, some, k, left, turned, PANEL, start, to, ld,
                                f);
  }
}

/* dw += Σ over the pixels of `count` panels of d, from t on, times their columns. */
static void turn_columns(const ChainStage *s, size_t wide, size_t t, size_t count,
                         const real *x, const real *d, const StageGradient *to,
                         real *room, Prefetch *f) {
  size_t k = s->columns;
  Left left = {output_panel(s, (real *)d, t), output_row(s), 1, wide, PANEL, false};
  TurnedSum sum = {s->conv->geometry.precision,
                   left,
                   x + t * k * PANEL,
                   PANEL,
                   k * PANEL,
                   wide,
                   count};
  sum_turned(&sum, s->out, k, to->begun, to->dw, k, room, f);
}

static void turn_gradient(const ChainStage *s, size_t wide, size_t t, size_t count,
                          const real *x, const real *d, const StageGradient *to,
                          real *room, Prefetch *f) {
  size_t k = s->columns;
  Left left = left_panels(x + t * k * PANEL, k, wide);
  TurnedSum sum = {s->conv->geometry.precision,
                   left,
                   output_panel(s, (real *)d, t),
                   output_row(s),
                   PANEL,
                   wide,
                   count};
  sum_turned(&sum, k, s->out, to->begun, to->dw, s->out, room, f);
}

static void stage_weights(const ChainStage *s, size_t n, const real *x, const real *d,
                          StageGradient *to, real *turned, Prefetch *f) {
  for (size_t t = 0, count; t < s->panels; t += count) {
    size_t window = s->window - t % s->window;
    count = window < TURN_PANELS ? window : TURN_PANELS;
    (to->turned ? turn_gradient : turn_columns)(s, whole_halves(n), t, count, x, d, to,
                                                turned, f);
    to->begun = true;
  }
}

/* dx, the gradient of a stage's columns. */
static void stage_columns(const ChainStage *s, size_t n, const real *pairs, const real *d,
                          real *dx, Prefetch *f) {
  Left weight = stage_in_pairs(s) ? left_pair_columns(pairs, pair_row(s, true))
                                  : left_columns(s->conv->weight->value, s->columns);
  for (size_t t = 0; t < s->panels; t++, dx += s->columns * PANEL)
    panel_product_prefetching(s->conv->geometry.precision, s->columns, whole_halves(n),
                              s->out, weight, output_panel(s, (real *)d, t),
                              output_row(s), NULL, dx, PANEL, f);
}

static size_t backward_rounds(const ChainStage *s, bool columns) {
  size_t weights = product_rounds(s->out, s->columns, PANEL);
  return s->panels *
         (weights + (columns ? product_rounds(s->columns, PANEL, s->out) : 0));
}

/* What stage i gives the cache time to fetch: what the stage below reads, and, but for
 * the last stage, what is read when the group is done. */
static Ranges stage_next(const ConvChain *v, size_t i, const real *x, const real *cols,
                         const Ranges *after) {
  Ranges s = i == 0 || i + 1 < v->depth ? *after : (Ranges){0};
  if (i == 0) return s;
  const ChainStage *below = v->stage + i - 1;
  if (i > 1) x -= output_reals(below - 1);
  if (s.count == MOST_RANGES) s.count--;
  memmove(s.range + 1, s.range, s.count * sizeof *s.range);
  s.range[0] = range_of(i > 1 ? x : cols, column_reals(below));
  s.count++;
  return s;
}

static void group_backward(const ConvChain *v, const Act *out, const Act *dout,
                           const Act *din, size_t g, const real *pairs, const real *cols,
                           const real *kept, const Ranges *later, StageGradient *to,
                           real *own) {
  size_t n = group_pixels(v, g), last = v->depth - 1, wide = whole_halves(n);
  real *turned = own, *y = turned + TURN_PANELS * PANEL * PANEL + left_pairs_reals(v);
  real *d = y + v->stage[last].out * PANEL, *dx = d + v->stage[last].out * PANEL;
  chain_group_panel(v, dout, g, d);
  if (v->stage[last].relu) chain_group_panel(v, out, g, y);
  relu_panel_backward(v->stage[last].relu ? y : NULL, d, v->stage[last].out, 1, wide,
                      to[last].db);
  kept += group_kept(v);
  for (size_t i = v->depth; i-- > 0;) {
    const ChainStage *s = v->stage + i, *below = i > 0 ? s - 1 : NULL;
    const real *x = below ? kept -= output_reals(below) : cols;
    Ranges next = stage_next(v, i, kept, cols, later);
    Prefetch fetch =
        prefetch_in(next.range, next.count, backward_rounds(s, below || din));
    stage_weights(s, n, x, d, to + i, turned, &fetch);
    if (below == NULL && din == NULL) break;
    stage_columns(s, n, chain_pairs_of(v, i, true, pairs), d, dx, &fetch);
    for (size_t t = 0; below != NULL && t < s->panels; t++)
      relu_panel_backward(below->relu ? x + t * s->columns * PANEL : NULL,
                          dx + t * s->columns * PANEL, below->out, below->window, wide,
                          to[i - 1].db);
    d = dx;
    dx += column_reals(s);
  }
  if (din != NULL) chain_group_columns(v, din, g, d, true);
}

/* What a group's backward pass reads first: its last stage's columns. */
static Ranges group_next(const ConvChain *v, const real *kept, size_t g) {
  if (v->depth == 1) return (Ranges){0};
  const ChainStage *s = v->stage + v->depth - 2;
  kept += (g + 1) * group_kept(v) - output_reals(s);
  return (Ranges){1, {range_of(kept, output_reals(s))}};
}

/* sum = part, or sum + part. */
CLONES static void join(const real *restrict part, size_t n, bool add,
                        real *restrict sum) {
  for (size_t i = 0; i < n; i++) sum[i] = (add ? sum[i] : 0) + part[i];
}

/* Point `to` at a part's own sums; the only part's are the weights' gradients
 * themselves where they are not turned. */
static void begin_sums(const ConvChain *v, real *part, StageGradient *to) {
  for (size_t i = 0; i < v->depth; i++, to++) {
    const ChainStage *s = v->stage + i;
    *to =
        (StageGradient){part, part + s->out * s->columns, false, sums_turned(v, s), true};
    part += s->out * (s->columns + 1);
    memset(to->db, 0, s->out * sizeof(real));
    if (to->turned || chain_parts(v) > 1) continue;
    real beta;
    to->dw = param_accumulate(s->conv->weight, &beta);
    to->begun = beta != 0;
    to->own = false;
  }
}

/* g = beta·g + the transpose of sum, which is [columns][out]. */
static void add_turned(const ChainStage *s, const real *sum, real beta, real *g) {
  real rows[PANEL * PANEL];
  for (size_t o = 0; o < s->out; o += PANEL)
    for (size_t j = 0; j < s->columns; j += PANEL) {
      size_t high = s->out - o < PANEL ? s->out - o : PANEL,
             wide = s->columns - j < PANEL ? s->columns - j : PANEL;
      panel_transpose(sum + j * s->out + o, s->out, high, wide, rows);
      for (size_t r = 0; r < high; r++)
        join(rows + r * PANEL, wide, beta != 0, g + (o + r) * s->columns + j);
    }
}

/* Add a stage's sums to its parameters' gradients. */
static void add_sums(const ChainStage *s, const StageGradient *sum) {
  Param *w = s->conv->weight, *bias = s->conv->bias;
  real beta;
  if (sum->own) {
    real *g = param_accumulate(w, &beta);
    if (sum->turned)
      add_turned(s, sum->dw, beta, g);
    else
      join(sum->dw, w->count, beta != 0, g);
  }
  w->largest = largest_magnitude(w->grad, 1, w->count, 0);
  if (bias == NULL) return;
  real *g = param_accumulate(bias, &beta);
  join(sum->db, s->out, beta != 0, g);
}

void conv_chain_backward(const ConvChain *v, const Act *in, const Act *out,
                         const Act *dout, const Act *din, const real *kept,
                         const real *cols, const Ranges *later, real *scratch,
                         int threads) {
  size_t parts = chain_parts(v), all = chain_groups(v), columns = column_reals(v->stage);
  for (size_t n = 0; din != NULL && n < din->n; n++)
    for (size_t c = 0; c < din->c; c++)
      memset(act_plane(din, n, c), 0, din->h * din->w * sizeof(real));
  /* Groups may meet where the first kernels overlap. */
  if (din != NULL && !conv_chain_tiles(v->stage[0].conv, din->h, din->w)) threads = 1;
  real *pairs = scratch;
  chain_make_pairs(v, true, pairs);
  scratch += chain_pairs(v, true);
  real *sums = scratch + thread_reals(v) * (size_t)threads;
  StageGradient to[MOST_PARTS][CHAIN_STAGES] = {0};
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index p = 0; p < (Index)parts; p++) {
    real *own = chain_thread_scratch(v, scratch, threads > 1 ? omp_get_thread_num() : 0);
    begin_sums(v, sums + (size_t)p * gradient_reals(v), to[p]);
    for (size_t g = all * (size_t)p / parts; g < all * ((size_t)p + 1) / parts; g++) {
      const real *x = cols ? cols + g * columns : own;
      if (cols == NULL) chain_group_columns(v, in, g, own, false);
      Ranges after = g + 1 < all ? group_next(v, kept, g + 1) : *later;
      group_backward(v, out, dout, din, g, pairs, x, kept + g * group_kept(v), &after,
                     to[p], own + columns);
    }
  }
  for (size_t p = 1; p < parts; p++)
    join(sums + p * gradient_reals(v), gradient_reals(v), true, sums);
  for (size_t i = 0; i < v->depth; i++) add_sums(v->stage + i, to[0] + i);
}

#include "patches.h"

#include <string.h>

#include "gemm.h"
#include "parallel.h"
#include "tiles.h"
#include "vector.h"

/* Weight gradients are summed in fixed parts of at least so many groups, then
 * joined in order, so that the sum does not depend on the number of threads. */
#define PART_GROUPS 4
#define MOST_PARTS 8
/* Panels that are transposed and summed at a time. */
#define TURN_PANELS 4

typedef ptrdiff_t Index;

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

static inline size_t pixels(const Patches *v) { return v->n * v->h * v->w; }

static inline size_t groups(const Patches *v) { return (pixels(v) + PANEL - 1) / PANEL; }

/* Pixels in group g. */
static inline size_t group_pixels(const Patches *v, size_t g) {
  size_t left = pixels(v) - g * PANEL;
  return left < PANEL ? left : PANEL;
}

/* The columns of a panel that are computed: whole vectors. */
static inline size_t whole_vectors(size_t n) { return (n + LANES - 1) / LANES * LANES; }

static inline size_t output_reals(const PatchStage *s) {
  return s->panels * s->out * PANEL;
}

static inline size_t column_reals(const PatchStage *s) {
  return s->panels * s->columns * PANEL;
}

/* A group's outputs of all stages but the last. */
static size_t group_kept(const Patches *v) {
  size_t total = 0;
  for (size_t i = 0; i + 1 < v->depth; i++) total += output_reals(v->stage + i);
  return total;
}

size_t patches_kept(const Patches *v) { return groups(v) * group_kept(v); }

size_t patches_columns_count(const Patches *v) {
  return groups(v) * column_reals(v->stage);
}

static size_t parts_of(const Patches *v) {
  size_t parts = groups(v) / PART_GROUPS;
  return parts < 1 ? 1 : parts > MOST_PARTS ? MOST_PARTS : parts;
}

/* A thread's: columns, turned panels, the last output, gradients of every
 * stage's outputs and of the columns. */
static size_t thread_reals(const Patches *v) {
  size_t last = v->stage[v->depth - 1].out * PANEL;
  return 2 * column_reals(v->stage) + TURN_PANELS * PANEL * PANEL + group_kept(v) +
         2 * last;
}

static size_t gradient_reals(const Patches *v) {
  size_t total = 0;
  for (size_t i = 0; i < v->depth; i++)
    total += v->stage[i].out * (v->stage[i].columns + 1);
  return total;
}

size_t patches_scratch(const Patches *v, int threads) {
  return thread_reals(v) * (size_t)threads + gradient_reals(v) * parts_of(v);
}

/* ---- between images and panels ---- */

/* Pixels of the first stage's input: (y[j], x[j]), at[j] numbers into a channel, is
 * the corner of pixel j's patch. */
typedef struct Corners {
  int32_t y[PANEL], x[PANEL], at[PANEL];
} Corners;

/* So far away that no step leads back into the image. */
#define OUTSIDE (INT32_MIN / 2)

static Corners group_corners(const Patches *v, const Act *in, size_t g) {
  Corners c;
  size_t count = group_pixels(v, g), sy = 1, sx = 1;
  for (size_t i = 0; i < v->depth; i++) {
    sy *= v->stage[i].conv->geometry.sh;
    sx *= v->stage[i].conv->geometry.sw;
  }
  size_t x = g * PANEL % v->w, y = g * PANEL / v->w, n = y / v->h;
  y %= v->h;
  for (size_t j = 0; j < PANEL; j++) {
    c.y[j] = j < count ? (int32_t)(y * sy) : OUTSIDE;
    c.x[j] = (int32_t)(x * sx);
    c.at[j] = (int32_t)(n * in->ns + y * sy * in->w + x * sx);
    if (++x == v->w) x = 0, y++;
    if (y == v->h) y = 0, n++;
  }
  return c;
}

/* A step away from the corners. */
typedef struct Step {
  int32_t y, x;
} Step;

/* What one row of columns reads of a plane: 0 outside. */
CLONES static void gather_step(const Corners *c, Step step, const real *plane, int32_t h,
                               int32_t w, real *row) {
  int32_t from[PANEL], offset = step.y * w + step.x;
  for (size_t j = 0; j < PANEL; j++) {
    uint32_t y = (uint32_t)(c->y[j] + step.y), x = (uint32_t)(c->x[j] + step.x);
    int32_t inside = -(int32_t)((y < (uint32_t)h) & (x < (uint32_t)w));
    from[j] = ((c->at[j] + offset) & inside) | ~inside;
  }
  for (size_t j = 0; j < PANEL; j++) {
    real value = plane[from[j] < 0 ? 0 : from[j]];
    row[j] = from[j] < 0 ? 0 : value;
  }
}

static void scatter_step(const Corners *c, Step step, real *plane, int32_t h, int32_t w,
                         const real *row) {
  for (size_t j = 0; j < PANEL; j++) {
    int32_t y = c->y[j] + step.y, x = c->x[j] + step.x;
    if (y >= 0 && y < h && x >= 0 && x < w)
      plane[c->at[j] + step.y * w + step.x] += row[j];
  }
}

/* Where the t-th pixel of each patch begins: its digits, from the last stage's window
 * to the second's, are rows and columns. */
static Step panel_step(const Patches *v, size_t t) {
  Index y = 0, x = 0, sy = 1, sx = 1;
  for (size_t i = 1; i < v->depth; i++) {
    const ConvGeometry *g = &v->stage[i].conv->geometry;
    size_t tap = t % (g->kh * g->kw);
    t /= g->kh * g->kw;
    y += (Index)(tap / g->kw) * sy;
    x += (Index)(tap % g->kw) * sx;
    sy *= (Index)g->kh;
    sx *= (Index)g->kw;
  }
  const ConvGeometry *g = &v->stage[0].conv->geometry;
  return (Step){(int32_t)(y * (Index)g->sh - (Index)g->ph),
                (int32_t)(x * (Index)g->sw - (Index)g->pw)};
}

/* Panel t of a group's columns from in, or back: added to it. */
static void panel_columns_of(const Patches *v, const Act *in, const Corners *corners,
                             size_t t, real *cols, bool back) {
  const ConvGeometry *k = &v->stage[0].conv->geometry;
  Step first = panel_step(v, t);
  int32_t h = (int32_t)in->h, w = (int32_t)in->w;
  for (size_t c = 0; c < in->c; c++)
    for (size_t i = 0; i < k->kh; i++)
      for (size_t j = 0; j < k->kw; j++, cols += PANEL) {
        Step step = {first.y + (int32_t)i, first.x + (int32_t)j};
        if (back)
          scatter_step(corners, step, act_plane(in, 0, c), h, w, cols);
        else
          gather_step(corners, step, act_plane(in, 0, c), h, w, cols);
      }
}

static void group_columns(const Patches *v, const Act *in, size_t g, real *cols,
                          bool back) {
  Corners corners = group_corners(v, in, g);
  for (size_t t = 0; t < v->stage[0].panels; t++, cols += v->stage[0].columns * PANEL)
    panel_columns_of(v, in, &corners, t, cols, back);
}

void patches_columns(const Patches *v, const Act *in, real *cols, int threads) {
  Index panels = (Index)v->stage[0].panels;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < (Index)groups(v) * panels; i++) {
    Corners corners = group_corners(v, in, (size_t)(i / panels));
    panel_columns_of(v, in, &corners, (size_t)(i % panels),
                     cols + (size_t)i * v->stage[0].columns * PANEL, false);
  }
}

bool patches_same_columns(const Patches *a, const Patches *b) {
  if (a->depth != b->depth) return false;
  for (size_t i = 0; i < a->depth; i++)
    if (memcmp(&a->stage[i].conv->geometry, &b->stage[i].conv->geometry,
               sizeof(ConvGeometry)) != 0)
      return false;
  return true;
}

/* Group g of the last output or its gradient, as one panel. */
static void panel_of(const Patches *v, const Act *a, size_t g, real *panel) {
  size_t plane = v->h * v->w, count = group_pixels(v, g);
  memset(panel, 0, count < PANEL ? a->c * PANEL * sizeof *panel : 0);
  for (size_t j = 0, run; j < count; j += run) {
    size_t p = g * PANEL + j, n = p / plane, at = p % plane;
    run = plane - at < count - j ? plane - at : count - j;
    for (size_t c = 0; c < a->c; c++)
      memcpy(panel + c * PANEL + j, act_plane(a, n, c) + at, run * sizeof *panel);
  }
}

static void panel_to(const Patches *v, const real *panel, size_t g, const Act *a) {
  size_t plane = v->h * v->w, count = group_pixels(v, g);
  for (size_t j = 0, run; j < count; j += run) {
    size_t p = g * PANEL + j, n = p / plane, at = p % plane;
    run = plane - at < count - j ? plane - at : count - j;
    for (size_t c = 0; c < a->c; c++)
      memcpy(act_plane(a, n, c) + at, panel + c * PANEL + j, run * sizeof *panel);
  }
}

/* ---- forward ---- */

/* Of the products of a group, for the outputs of a stage and those after it. */
static size_t forward_rounds(const Patches *v, size_t i) {
  size_t rounds = 0;
  for (; i < v->depth; i++) {
    const PatchStage *s = v->stage + i;
    rounds += s->panels * product_rounds(s->out, PANEL, s->columns);
  }
  return rounds;
}

/* What the last of a thread's groups fetches. */
static Fetch fetch_last(const Spans *soon, bool last, size_t rounds) {
  return last ? fetch_in(soon->span, soon->count, rounds) : (Fetch){0};
}

/* Where panel t of a stage's outputs begins, and the distance of its rows. */
static inline real *output_panel(const PatchStage *s, real *y, size_t t) {
  return y + t / s->taps * s->taps * s->out * PANEL + t % s->taps * PANEL;
}

static inline size_t output_row(const PatchStage *s) { return s->taps * PANEL; }

static void stage_forward(const PatchStage *s, size_t n, const real *x, real *y,
                          Fetch *f) {
  const real *bias = s->conv->bias ? s->conv->bias->value : NULL;
  for (size_t t = 0; t < s->panels; t++, x += s->columns * PANEL) {
    real *to = output_panel(s, y, t);
    panel_product_fetching(s->out, whole_vectors(n), s->columns,
                           left_rows(s->conv->weight->value, s->columns), x, PANEL, bias,
                           to, output_row(s), f);
    relu_panel(to, s->out, output_row(s), n, s->relu);
  }
}

void patches_forward(const Patches *v, const Act *in, const Act *out, real *kept,
                     const real *cols, const Spans *soon, real *scratch, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index g = 0; g < (Index)groups(v); g++) {
    real *own =
        scratch + (size_t)omp_get_thread_num() * (threads > 1 ? thread_reals(v) : 0);
    real *y = kept + (size_t)g * group_kept(v), *last = own + column_reals(v->stage);
    const real *x = cols ? cols + (size_t)g * column_reals(v->stage) : own;
    Fetch fetch = fetch_last(soon, (size_t)g + 1 == groups(v), forward_rounds(v, 0));
    if (cols == NULL) group_columns(v, in, (size_t)g, own, false);
    for (size_t i = 0; i < v->depth; i++) {
      if (i + 1 == v->depth) y = last;
      stage_forward(v->stage + i, group_pixels(v, (size_t)g), x, y, &fetch);
      x = y;
      y += output_reals(v->stage + i);
    }
    panel_to(v, last, (size_t)g, out);
  }
}

/* ---- backward ---- */

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
static bool sums_turned(const Patches *v, const PatchStage *s) {
  return s->out >= PANEL && (s->columns < PANEL || parts_of(v) > 1);
}

/* dw += Σ over the pixels of `count` panels of d, from t on, times their columns. */
static void turn_columns(const PatchStage *s, size_t wide, size_t t, size_t count,
                         const real *x, const real *d, const StageGradient *to,
                         real *turned, Fetch *f) {
  size_t k = s->columns;
  Left left = {output_panel(s, (real *)d, t), output_row(s), 1, wide, PANEL};
  for (size_t j = 0; j < k; j += PANEL) {
    size_t columns = k - j < PANEL ? k - j : PANEL;
    for (size_t i = 0; i < count; i++)
      panel_transpose(x + ((t + i) * k + j) * PANEL, PANEL, wide, columns,
                      turned + i * wide * PANEL);
    panel_product_fetching(s->out, columns, count * wide, left, turned, PANEL,
                           to->begun ? to->dw + j : NULL, to->dw + j, k, f);
  }
}

static void turn_gradient(const PatchStage *s, size_t wide, size_t t, size_t count,
                          const real *x, const real *d, const StageGradient *to,
                          real *turned, Fetch *f) {
  size_t k = s->columns;
  const real *rows = output_panel(s, (real *)d, t);
  for (size_t o = 0; o < s->out; o += PANEL) {
    size_t columns = s->out - o < PANEL ? s->out - o : PANEL;
    for (size_t i = 0; i < count; i++)
      panel_transpose(rows + o * output_row(s) + i * PANEL, output_row(s), wide, columns,
                      turned + i * wide * PANEL);
    panel_product_fetching(k, columns, count * wide,
                           left_panels(x + t * k * PANEL, k, wide), turned, PANEL,
                           to->begun ? to->dw + o : NULL, to->dw + o, s->out, f);
  }
}

static void stage_weights(const PatchStage *s, size_t n, const real *x, const real *d,
                          StageGradient *to, real *turned, Fetch *f) {
  for (size_t t = 0, count; t < s->panels; t += count) {
    size_t window = s->taps - t % s->taps;
    count = window < TURN_PANELS ? window : TURN_PANELS;
    (to->turned ? turn_gradient : turn_columns)(s, whole_vectors(n), t, count, x, d, to,
                                                turned, f);
    to->begun = true;
  }
}

/* dx, the gradient of a stage's columns. */
static void stage_columns(const PatchStage *s, size_t n, const real *d, real *dx,
                          Fetch *f) {
  for (size_t t = 0; t < s->panels; t++, dx += s->columns * PANEL)
    panel_product_fetching(s->columns, whole_vectors(n), s->out,
                           left_columns(s->conv->weight->value, s->columns),
                           output_panel(s, (real *)d, t), output_row(s), NULL, dx, PANEL,
                           f);
}

static size_t backward_rounds(const PatchStage *s, bool columns) {
  size_t weights = product_rounds(s->out, s->columns, PANEL);
  return s->panels *
         (weights + (columns ? product_rounds(s->columns, PANEL, s->out) : 0));
}

/* What stage i gives the cache time to fetch: what the stage below reads, and, but for
 * the last stage, what is read when the group is done. */
static Spans stage_soon(const Patches *v, size_t i, const real *x, const real *cols,
                        const Spans *after) {
  Spans s = i == 0 || i + 1 < v->depth ? *after : (Spans){0};
  if (i == 0) return s;
  const PatchStage *below = v->stage + i - 1;
  if (i > 1) x -= output_reals(below - 1);
  if (s.count == MOST_SPANS) s.count--;
  memmove(s.span + 1, s.span, s.count * sizeof *s.span);
  s.span[0] = span_of(i > 1 ? x : cols, column_reals(below));
  s.count++;
  return s;
}

static void group_backward(const Patches *v, const Act *out, const Act *dout,
                           const Act *din, size_t g, const real *cols, const real *kept,
                           const Spans *soon, StageGradient *to, real *own) {
  size_t n = group_pixels(v, g), last = v->depth - 1, wide = whole_vectors(n);
  real *turned = own, *y = turned + TURN_PANELS * PANEL * PANEL;
  real *d = y + v->stage[last].out * PANEL, *dx = d + v->stage[last].out * PANEL;
  panel_of(v, dout, g, d);
  if (v->stage[last].relu) panel_of(v, out, g, y);
  relu_panel_backward(v->stage[last].relu ? y : NULL, d, v->stage[last].out, 1, wide,
                      to[last].db);
  kept += group_kept(v);
  for (size_t i = v->depth; i-- > 0;) {
    const PatchStage *s = v->stage + i, *below = i > 0 ? s - 1 : NULL;
    const real *x = below ? kept -= output_reals(below) : cols;
    Spans next = stage_soon(v, i, kept, cols, soon);
    Fetch fetch = fetch_in(next.span, next.count, backward_rounds(s, below || din));
    stage_weights(s, n, x, d, to + i, turned, &fetch);
    if (below == NULL && din == NULL) break;
    stage_columns(s, n, d, dx, &fetch);
    for (size_t t = 0; below != NULL && t < s->panels; t++)
      relu_panel_backward(below->relu ? x + t * s->columns * PANEL : NULL,
                          dx + t * s->columns * PANEL, below->out, below->taps, wide,
                          to[i - 1].db);
    d = dx;
    dx += column_reals(s);
  }
  if (din != NULL) group_columns(v, din, g, d, true);
}

/* What a group's backward pass reads first: its last stage's columns. */
static Spans group_soon(const Patches *v, const real *kept, size_t g) {
  if (v->depth == 1) return (Spans){0};
  const PatchStage *s = v->stage + v->depth - 2;
  kept += (g + 1) * group_kept(v) - output_reals(s);
  return (Spans){1, {span_of(kept, output_reals(s))}};
}

/* sum = part, or sum + part. */
CLONES static void join(const real *restrict part, size_t n, bool add,
                        real *restrict sum) {
  for (size_t i = 0; i < n; i++) sum[i] = (add ? sum[i] : 0) + part[i];
}

/* Point `to` at a part's own sums; the only part's are the weights' gradients
 * themselves where they are not turned. */
static void begin_sums(const Patches *v, real *part, StageGradient *to) {
  for (size_t i = 0; i < v->depth; i++, to++) {
    const PatchStage *s = v->stage + i;
    *to =
        (StageGradient){part, part + s->out * s->columns, false, sums_turned(v, s), true};
    part += s->out * (s->columns + 1);
    memset(to->db, 0, s->out * sizeof(real));
    if (to->turned || parts_of(v) > 1) continue;
    real beta;
    to->dw = param_accumulate(s->conv->weight, &beta);
    to->begun = beta != 0;
    to->own = false;
  }
}

/* g = beta·g + the transpose of sum, which is [columns][out]. */
static void add_turned(const PatchStage *s, const real *sum, real beta, real *g) {
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
static void add_sums(const PatchStage *s, const StageGradient *sum) {
  Param *w = s->conv->weight, *bias = s->conv->bias;
  real beta;
  if (sum->own) {
    real *g = param_accumulate(w, &beta);
    if (sum->turned)
      add_turned(s, sum->dw, beta, g);
    else
      join(sum->dw, w->count, beta != 0, g);
  }
  w->largest = gradient_largest(w->grad, 1, w->count, 0);
  if (bias == NULL) return;
  real *g = param_accumulate(bias, &beta);
  join(sum->db, s->out, beta != 0, g);
}

void patches_backward(const Patches *v, const Act *in, const Act *out, const Act *dout,
                      const Act *din, const real *kept, const real *cols,
                      const Spans *soon, real *scratch, int threads) {
  size_t parts = parts_of(v), all = groups(v), columns = column_reals(v->stage);
  for (size_t n = 0; din != NULL && n < din->n; n++)
    for (size_t c = 0; c < din->c; c++)
      memset(act_plane(din, n, c), 0, din->h * din->w * sizeof(real));
  /* Groups may meet where the first kernels overlap. */
  if (din != NULL && !patches_tile(v->stage[0].conv, din->h, din->w)) threads = 1;
  real *sums = scratch + thread_reals(v) * (size_t)threads;
  StageGradient to[MOST_PARTS][PATCHES_STAGES] = {0};
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index p = 0; p < (Index)parts; p++) {
    real *own =
        scratch + (size_t)omp_get_thread_num() * (threads > 1 ? thread_reals(v) : 0);
    begin_sums(v, sums + (size_t)p * gradient_reals(v), to[p]);
    for (size_t g = all * (size_t)p / parts; g < all * ((size_t)p + 1) / parts; g++) {
      const real *x = cols ? cols + g * columns : own;
      if (cols == NULL) group_columns(v, in, g, own, false);
      Spans after = g + 1 < all ? group_soon(v, kept, g + 1) : *soon;
      group_backward(v, out, dout, din, g, x, kept + g * group_kept(v), &after, to[p],
                     own + columns);
    }
  }
  for (size_t p = 1; p < parts; p++)
    join(sums + p * gradient_reals(v), gradient_reals(v), true, sums);
  for (size_t i = 0; i < v->depth; i++) add_sums(v->stage + i, to[0] + i);
}

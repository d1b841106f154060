/* Between images and the panels of nn/conv_chain.h. */
#include <string.h>

#include "base/threads.h"
#include "nn/conv_chain.h"

/* Pixels of the first stage's input: (y[j], x[j]), at[j] numbers into a channel, is
 * the corner of pixel j's patch. */
typedef struct Corners {
  int32_t y[PANEL], x[PANEL], at[PANEL];
} Corners;

/* So far away that no step leads back into the image. */
#define OUTSIDE (INT32_MIN / 2)

static Corners group_corners(const ConvChain *v, const Act *in, size_t g) {
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
    c.at[j] = j < count ? (int32_t)(n * in->ns + y * sy * in->w + x * sx) : 0;
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
static Step panel_step(const ConvChain *v, size_t t) {
  Index y = 0, x = 0, sy = 1, sx = 1;
  for (size_t i = 1; i < v->depth; i++) {
    const ConvGeometry *g = &v->stage[i].conv->geometry;
    size_t place = t % (g->kh * g->kw);
    t /= g->kh * g->kw;
    y += (Index)(place / g->kw) * sy;
    x += (Index)(place % g->kw) * sx;
    sy *= (Index)g->kh;
    sx *= (Index)g->kw;
  }
  const ConvGeometry *g = &v->stage[0].conv->geometry;
  return (Step){(int32_t)(y * (Index)g->sh - (Index)g->ph),
                (int32_t)(x * (Index)g->sw - (Index)g->pw)};
}

/* Gather panel t of a group's columns from `in`, or add it there. */
static void step_columns(const ConvChain *v, const Act *in, const Corners *corners,
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

void chain_group_columns(const ConvChain *v, const Act *in, size_t g, real *cols,
                         bool back) {
  Corners corners = group_corners(v, in, g);
  for (size_t t = 0; t < v->stage[0].panels; t++, cols += v->stage[0].columns * PANEL)
    step_columns(v, in, &corners, t, cols, back);
}

void conv_chain_columns(const ConvChain *v, const Act *in, real *cols, int threads) {
  Index panels = (Index)v->stage[0].panels;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < (Index)chain_groups(v) * panels; i++) {
    Corners corners = group_corners(v, in, (size_t)(i / panels));
    step_columns(v, in, &corners, (size_t)(i % panels),
                 cols + (size_t)i * v->stage[0].columns * PANEL, false);
  }
}

bool conv_chain_same_columns(const ConvChain *a, const ConvChain *b) {
  if (a->depth != b->depth) return false;
  for (size_t i = 0; i < a->depth; i++)
    if (!conv_same_geometry(&a->stage[i].conv->geometry, &b->stage[i].conv->geometry))
      return false;
  return true;
}

void chain_group_panel(const ConvChain *v, const Act *a, size_t g, real *panel) {
  size_t plane = v->h * v->w, count = group_pixels(v, g);
  memset(panel, 0, count < PANEL ? a->c * PANEL * sizeof *panel : 0);
  for (size_t j = 0, run; j < count; j += run) {
    size_t p = g * PANEL + j, n = p / plane, at = p % plane;
    run = plane - at < count - j ? plane - at : count - j;
    for (size_t c = 0; c < a->c; c++)
      memcpy(panel + c * PANEL + j, act_plane(a, n, c) + at, run * sizeof *panel);
  }
}

void chain_panel_back(const ConvChain *v, const real *panel, size_t g, const Act *a) {
  size_t plane = v->h * v->w, count = group_pixels(v, g);
  for (size_t j = 0, run; j < count; j += run) {
    size_t p = g * PANEL + j, n = p / plane, at = p % plane;
    run = plane - at < count - j ? plane - at : count - j;
    for (size_t c = 0; c < a->c; c++)
      memcpy(act_plane(a, n, c) + at, panel + c * PANEL + j, run * sizeof *panel);
  }
}

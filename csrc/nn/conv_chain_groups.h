/* A chain of convolutions (nn/conv_chain.h) and what its passes share: how pixels lie in
 * groups and parts, a thread's scratch, and the way between images and panels. */
#ifndef CGLOW_NN_CONV_CHAIN_GROUPS_H
#define CGLOW_NN_CONV_CHAIN_GROUPS_H

#include "base/size.h"
#include "math/pairs.h"
#include "nn/layer.h"

#define CHAIN_STAGES 4
/* Pixels of the first output in a patch, at most. */
#define CHAIN_PIXELS 256
/* Numbers in a column, at most: a group has PANEL columns, however few pixels. */
#define CHAIN_COLUMN 4096

typedef struct ChainStage {
  const Layer *conv;
  bool relu;      /* follows it */
  size_t columns; /* numbers in a column */
  size_t out;     /* channels */
  size_t panels;  /* of outputs in a group: pixels in a patch */
  size_t window;  /* of the next stage's windows; last stage: 1 */
} ChainStage;

typedef struct ConvChain {
  size_t depth, n, h, w; /* stages; samples and size of the last output */
  ChainStage stage[CHAIN_STAGES];
} ConvChain;

/* Weight gradients are summed in fixed parts of at least so many groups, then
 * joined in order, so that the sum does not depend on the number of threads. */
#define PART_GROUPS 4
#define MOST_PARTS 8
/* Panels that are transposed and summed at a time. */
#define TURN_PANELS 4

typedef ptrdiff_t Index;

static inline size_t chain_pixels(const ConvChain *v) { return v->n * v->h * v->w; }

static inline size_t chain_groups(const ConvChain *v) {
  return (chain_pixels(v) + PANEL - 1) / PANEL;
}

/* Pixels in group g. */
static inline size_t group_pixels(const ConvChain *v, size_t g) {
  size_t left = chain_pixels(v) - g * PANEL;
  return left < PANEL ? left : PANEL;
}

/* The columns of a panel that are computed: whole halves. */
static inline size_t whole_halves(size_t n) {
  size_t half = PANEL / 2;
  return (n + half - 1) / half * half;
}

static inline size_t output_reals(const ChainStage *s) {
  return s->panels * s->out * PANEL;
}

static inline size_t column_reals(const ChainStage *s) {
  return s->panels * s->columns * PANEL;
}

/* Where panel t of a stage's outputs begins, and the distance of its rows. */
static inline real *output_panel(const ChainStage *s, real *y, size_t t) {
  return y + t / s->window * s->window * s->out * PANEL + t % s->window * PANEL;
}

static inline size_t output_row(const ChainStage *s) { return s->window * PANEL; }

/* A group's outputs of all stages but the last. */
static inline size_t group_kept(const ConvChain *v) {
  size_t total = 0;
  for (size_t i = 0; i + 1 < v->depth; i++) total += output_reals(v->stage + i);
  return total;
}

static inline size_t chain_parts(const ConvChain *v) {
  size_t parts = chain_groups(v) / PART_GROUPS;
  return parts < 1 ? 1 : parts > MOST_PARTS ? MOST_PARTS : parts;
}

/* The weights of a stage in pairs (math/pairs.h), where its products take those: rows, or
 * columns for the backward pass, `pair_row` apart. */
static inline bool stage_in_pairs(const ChainStage *s) {
  return rounds_to_pairs(s->conv->geometry.precision);
}

static inline size_t pair_row(const ChainStage *s, bool columns) {
  return columns ? round_up(s->columns) : pairs_row(s->columns);
}

static inline size_t stage_pairs(const ChainStage *s, bool columns) {
  if (!stage_in_pairs(s)) return 0;
  return round_up((columns ? (s->out + 1) / 2 : s->out) * pair_row(s, columns));
}

static inline size_t chain_pairs(const ConvChain *v, bool columns) {
  size_t total = 0;
  for (size_t i = 0; i < v->depth; i++) total += stage_pairs(v->stage + i, columns);
  return total;
}

/* Round all stages' weights to `pairs`; where stage i's lie. */
void chain_make_pairs(const ConvChain *v, bool columns, real *pairs);
static inline const real *chain_pairs_of(const ConvChain *v, size_t i, bool columns,
                                         const real *pairs) {
  for (size_t k = 0; k < i; k++) pairs += stage_pairs(v->stage + k, columns);
  return pairs;
}

/* Rows of the left factor of a weight's gradient in pairs, for TURN_PANELS of pixels. */
static inline size_t left_pairs_reals(const ConvChain *v) {
  size_t most = 0;
  for (size_t i = 0; i < v->depth; i++)
    if (stage_in_pairs(v->stage + i))
      most = max_size(most, max_size(v->stage[i].out, v->stage[i].columns));
  return most * pairs_row(TURN_PANELS * PANEL);
}

/* A thread's: columns, turned panels and a left factor in pairs, the last output,
 * gradients of every stage's outputs and of the columns. */
static inline size_t thread_reals(const ConvChain *v) {
  size_t last = v->stage[v->depth - 1].out * PANEL;
  return 2 * column_reals(v->stage) + TURN_PANELS * PANEL * PANEL + left_pairs_reals(v) +
         group_kept(v) + 2 * last;
}

/* A thread's scratch, the first's if there is but one. */
static inline real *chain_thread_scratch(const ConvChain *v, real *scratch, int thread) {
  return scratch + (size_t)thread * thread_reals(v);
}

/* A part's sums: weight and bias gradients, stage by stage. */
static inline size_t gradient_reals(const ConvChain *v) {
  size_t total = 0;
  for (size_t i = 0; i < v->depth; i++)
    total += v->stage[i].out * (v->stage[i].columns + 1);
  return total;
}

/* Gather a group's columns from `in`, or add them there. */
void chain_group_columns(const ConvChain *v, const Act *in, size_t g, real *cols,
                         bool back);

/* Group g of the last output or its gradient, as one panel, and the way back. */
void chain_group_panel(const ConvChain *v, const Act *a, size_t g, real *panel);
void chain_panel_back(const ConvChain *v, const real *panel, size_t g, const Act *a);

#endif

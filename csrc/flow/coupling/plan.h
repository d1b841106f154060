/* A coupling layer, and how a batch is cut: where tiles and panels lie. */
#ifndef CGLOW_FLOW_COUPLING_PLAN_H
#define CGLOW_FLOW_COUPLING_PLAN_H

#include "base/size.h"
#include "flow/flow.h"
#include "math/conv.h"
#include "math/gemm.h"
#include "math/pairs.h"
#include "optim/param.h"

typedef struct Coupling {
  Flow flow;
  size_t cond;         /* of hx; 0: unconditional */
  size_t width;        /* of the hidden layers */
  bool features;       /* conv1's output is added to: `pre` of CouplingInput */
  Precision precision; /* of the network's products */
  real bound; /* α; 0: t and r through tanh and σ from a sigmoid, as published */
  Param *conv1, *bias1, *logs1, *conv2, *bias2, *logs2, *conv3, *bias3, *logs3;
} Coupling;

/* How a batch is cut. */
typedef struct CouplingPlan {
  size_t n, h, w;    /* of y */
  size_t side;       /* pixels of a cell's side, 1 or 2 */
  size_t high, wide; /* cells of an image */
  size_t rows;       /* of cells in a tile; the last may have fewer */
  size_t tiles;
  size_t width;  /* cells in a panel; the last of a tile may have fewer */
  size_t panels; /* of cells, in a tile but the last */
  size_t pixels; /* n·h·w */
} CouplingPlan;

CouplingPlan coupling_plan(const Coupling *c, size_t n, size_t h, size_t w);

/* Are there fewer tiles than threads?  Then these share out each tile's channels, too,
 * and wait for each other between the layers. */
static inline bool coupling_by_channels(const CouplingPlan *p, int threads) {
  return p->panels == 1 && p->tiles < (size_t)threads;
}

/* Are conv2's factors rounded to pairs once, because so many panels read them? */
static inline bool coupling_in_pairs(const Coupling *c, const CouplingPlan *p,
                                     int threads) {
  return rounds_to_pairs(c->precision) && !coupling_by_channels(p, threads) &&
         p->tiles * p->panels * p->side * p->side >= 4;
}

static inline size_t coupling_keep1(const Coupling *c) { return c->flow.channels / 2; }
static inline size_t coupling_change(const Coupling *c) {
  return c->flow.channels - c->flow.channels / 2;
}

static inline size_t in_channels(const Coupling *c) {
  return c->cond + coupling_keep1(c);
}
static inline size_t out_channels(const Coupling *c) { return 2 * coupling_change(c); }

/* Blocks of PANEL channels of a hidden layer. */
static inline size_t coupling_blocks(const Coupling *c) {
  return (c->width + PANEL - 1) / PANEL;
}

/* Some channels: of a hidden layer, where `first` begins a block, or of the few. */
typedef struct Channels {
  size_t first, count;
} Channels;

/* The b-th of parts of `all` channels; none behind the last. */
static inline Channels channels_part(size_t all, size_t part, size_t b) {
  size_t first = b * part < all ? b * part : all, left = all - first;
  return (Channels){first, left < part ? left : part};
}

/* Channels on the side of the few planes whose filters, or columns, are a piece of work.
 */
#define FEW_CHANNELS ((size_t)8)

/* Channels of a piece of work: as many as `most`, a power of 2, or a half, a quarter …
 * so that there are two pieces for each thread, but no fewer than `least`. */
static inline size_t coupling_piece(size_t all, size_t tiles, size_t most, size_t least,
                                    int threads) {
  while (most > least && tiles * ((all + most - 1) / most) < 2 * (size_t)threads)
    most /= 2;
  return most;
}

static inline size_t parts_of(size_t all, size_t part) { return (all + part - 1) / part; }

/* Panels of a hidden layer for each panel of cells. */
static inline size_t cell_pixels(const CouplingPlan *p) { return p->side * p->side; }

static inline size_t full_tile(const CouplingPlan *p) { return p->rows * p->wide; }

static inline size_t all_cells(const CouplingPlan *p) { return p->n * p->high * p->wide; }

static inline size_t tile_rows(const CouplingPlan *p, size_t t) {
  size_t left = p->n * p->high - t * p->rows;
  return left < p->rows ? left : p->rows;
}

static inline size_t tile_cells(const CouplingPlan *p, size_t t) {
  return tile_rows(p, t) * p->wide;
}

/* Tile t of a matrix with k rows that is stored tile by tile, row-major. */
static inline size_t tile_offset(const CouplingPlan *p, size_t t, size_t k) {
  return t * full_tile(p) * k;
}

static inline size_t tile_panels(const CouplingPlan *p, size_t t) {
  return (tile_cells(p, t) + p->width - 1) / p->width;
}

/* Panels of all tiles are numbered through; here one lies in a matrix of k rows. */
static inline size_t panel_offset(size_t q, size_t k) { return q * k * PANEL; }

/* Where a hidden layer of panel q of cells lies. */
static inline size_t hidden_offset(const Coupling *c, const CouplingPlan *p, size_t q) {
  return panel_offset(q * cell_pixels(p), c->width);
}

static inline size_t all_panels(const CouplingPlan *p) {
  return (p->tiles - 1) * p->panels + tile_panels(p, p->tiles - 1);
}

/* Cells in panel q of a tile of n. */
static inline size_t panel_cells(const CouplingPlan *p, size_t n, size_t q) {
  return n - q * p->width < p->width ? n - q * p->width : p->width;
}

/* Row r of cells (over all samples) of row i of a row-major tiled matrix. */
static inline const real *tile_row(const CouplingPlan *p, const real *m, size_t k,
                                   size_t i, size_t r) {
  size_t t = r / p->rows;
  return m + tile_offset(p, t, k) + i * tile_cells(p, t) + (r - t * p->rows) * p->wide;
}

/* Where each pixel is on its own, work goes by runs of whole rows of a sample, of
 * at least RUN_PIXELS if the sample has them. */
#define RUN_PIXELS ((size_t)32)

typedef struct Run {
  size_t n, at, pixels; /* sample; first pixel, counted within it; their number */
} Run;

static inline size_t run_rows(const CouplingPlan *p) {
  return p->w < RUN_PIXELS ? RUN_PIXELS / p->w : 1;
}

/* Runs of a sample. */
static inline size_t sample_runs(const CouplingPlan *p) {
  return (p->h + run_rows(p) - 1) / run_rows(p);
}

static inline Run run_at(const CouplingPlan *p, size_t i) {
  size_t y = i % sample_runs(p) * run_rows(p), left = p->h - y;
  size_t rows = left < run_rows(p) ? left : run_rows(p);
  return (Run){i / sample_runs(p), y * p->w, rows * p->w};
}

/* out = exp(logs) */
void coupling_scales(const real *logs, size_t n, real *out);

#endif

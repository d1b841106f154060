/* What the two directions of the coupling share: where tiles and panels lie,
 * and conv3's weight in the form that products want. */
#ifndef CGLOW_COUPLING_TILES_H
#define CGLOW_COUPLING_TILES_H

#include "conv.h"
#include "coupling.h"
#include "gemm.h"

static const ConvGeometry conv3x3 = {3, 3, 1, 1, 1, 1};

static inline size_t round_up(size_t n) { return (n + 15) & ~(size_t)15; }

static inline size_t in_channels(const Coupling *c) {
  return c->cond + coupling_keep1(c);
}
static inline size_t out_channels(const Coupling *c) { return 2 * coupling_change(c); }

static inline size_t full_tile(const CouplingPlan *p) { return p->rows * p->w; }

static inline size_t tile_rows(const CouplingPlan *p, size_t t) {
  size_t left = p->n * p->h - t * p->rows;
  return left < p->rows ? left : p->rows;
}

static inline size_t tile_pixels(const CouplingPlan *p, size_t t) {
  return tile_rows(p, t) * p->w;
}

/* Tile t of a matrix with k rows that is stored tile by tile, row-major. */
static inline size_t tile_offset(const CouplingPlan *p, size_t t, size_t k) {
  return t * full_tile(p) * k;
}

static inline size_t tile_panels(const CouplingPlan *p, size_t t) {
  return (tile_pixels(p, t) + p->width - 1) / p->width;
}

/* Panels of all tiles are numbered through; here one lies in a matrix of k rows. */
static inline size_t panel_offset(size_t q, size_t k) { return q * k * PANEL; }

static inline size_t all_panels(const CouplingPlan *p) {
  return (p->tiles - 1) * p->panels + tile_panels(p, p->tiles - 1);
}

/* Pixels in panel q of a tile of n. */
static inline size_t panel_pixels(const CouplingPlan *p, size_t n, size_t q) {
  return n - q * p->width < p->width ? n - q * p->width : p->width;
}

/* Image row r (over all samples) of matrix row i of a row-major tiled matrix. */
static inline const real *tile_row(const CouplingPlan *p, const real *m, size_t k,
                                   size_t i, size_t r) {
  size_t t = r / p->rows;
  return m + tile_offset(p, t, k) + i * tile_pixels(p, t) + (r - t * p->rows) * p->w;
}

/* Output channel o of conv3's weight [out, width, 9] as 9 rows of [out·9, width]. */
void coupling_turn_conv3(const Coupling *c, size_t o, real *turned);
/* out = exp(logs) */
void coupling_scales(const real *logs, size_t n, real *out);
/* Columns of conv1 for tile t: first hx's channels, then y1's. */
void coupling_columns(const Coupling *c, const CouplingPlan *p, const Act *hx,
                      const Act *y1, size_t t, real *cols);
/* dst = Σ of the nine shifted planes o·9 … o·9+8 of k at image row r; sign +1
 * reads pixel + offset (forward), −1 pixel − offset (backward). */
void coupling_gather(const CouplingPlan *p, const real *planes, size_t k, size_t o,
                     size_t r, int sign, real *dst);

#endif

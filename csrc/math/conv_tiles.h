/* Tiles of a convolution's output. */
#ifndef CGLOW_MATH_CONV_TILES_H
#define CGLOW_MATH_CONV_TILES_H

#include "base/act.h"
#include "base/size.h"
#include "math/gemm.h"

/* Columns that one piece of work handles: enough to keep a GEMM busy, few
 * enough that its operands stay in the second-level cache. */
#define TILE_COLUMNS 256

/* Work is cut into tiles of whole output rows.  In the (C, N, H, W) layout a
 * tile may span samples; otherwise each sample is cut on its own. */
typedef struct Tiling {
  size_t ow, rows_per_tile, rows_per_block, blocks, tiles_per_block;
} Tiling;

static inline Tiling tile(const Act *out) {
  Tiling t;
  t.ow = out->w;
  t.blocks = act_batch_contiguous(out) ? 1 : out->n;
  t.rows_per_block = (t.blocks == 1 ? out->n : 1) * out->h;
  t.rows_per_tile = TILE_COLUMNS / out->w;
  if (t.rows_per_tile > t.rows_per_block) t.rows_per_tile = t.rows_per_block;
  if (t.rows_per_tile == 0) t.rows_per_tile = 1;
  t.tiles_per_block = (t.rows_per_block + t.rows_per_tile - 1) / t.rows_per_tile;
  return t;
}

/* Tiles small enough that each thread has several; for sums that no cut changes. */
static inline Tiling tile_for(const Act *out, int threads) {
  Tiling t = tile(out);
  size_t pieces = 2 * (size_t)threads, rows = act_pixels(out) / pieces / t.ow;
  size_t least = max_size(PANEL / t.ow, 1);
  if (threads > 1 && rows < t.rows_per_tile)
    t.rows_per_tile = min_size(max_size(rows, least), t.rows_per_tile);
  t.tiles_per_block = (t.rows_per_block + t.rows_per_tile - 1) / t.rows_per_tile;
  return t;
}

static inline size_t tile_count(const Tiling *t) {
  return t->blocks * t->tiles_per_block;
}

/* Tile i covers `rows` rows from row0, counted over all samples; returns where
 * its pixels start within a channel of out. */
static inline size_t tile_at(const Tiling *t, const Act *out, size_t i, size_t *row0,
                             size_t *rows) {
  /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a tile has rows, so a block has tiles */
  size_t block = i / t->tiles_per_block, within = i % t->tiles_per_block;
  size_t first = within * t->rows_per_tile;
  *row0 = block * t->rows_per_block + first;
  *rows = t->rows_per_block - first;
  if (*rows > t->rows_per_tile) *rows = t->rows_per_tile;
  return block * out->ns + first * t->ow;
}

#endif

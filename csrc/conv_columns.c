/* The columns of a convolution: one for each output pixel, listing its inputs. */
#include <string.h>

#include "conv.h"

typedef ptrdiff_t Index;

/* dst[x] = src[x·stride + first] for x < n, 0 where that falls outside
 * 0..width-1. */
static inline void gather_row(const real *src, Index width, Index first, Index stride,
                              real *dst, Index n) {
  Index lo = first < 0 ? (-first + stride - 1) / stride : 0;
  Index hi = first < width ? (width - 1 - first) / stride + 1 : 0;
  if (hi > n) hi = n;
  if (lo > hi) lo = hi;
  for (Index x = 0; x < lo; x++) dst[x] = 0;
  for (Index x = lo; x < hi; x++) dst[x] = src[x * stride + first];
  for (Index x = hi; x < n; x++) dst[x] = 0;
}

/* Rows y0 .. y0+rows-1 of a plane that is moved by (di, dj), zeros coming in:
 * one copy of all rows, then the columns that the copy carried over an edge. */
static void moved_rows(const real *plane, Index h, Index w, Index y0, Index rows,
                       Index di, Index dj, real *dst) {
  Index lo = y0 + di < 0 ? -(y0 + di) : 0, hi = h - (y0 + di);
  if (lo > rows) lo = rows;
  if (hi > rows) hi = rows;
  Index edge = dj < 0 ? -dj : dj;
  if (hi <= lo || edge >= w) {
    memset(dst, 0, (size_t)(rows * w) * sizeof *dst);
    return;
  }
  memset(dst, 0, (size_t)(lo * w) * sizeof *dst);
  memset(dst + hi * w, 0, (size_t)((rows - hi) * w) * sizeof *dst);
  const real *src = plane + (y0 + lo + di) * w;
  dst += lo * w;
  memcpy(dst + (dj < 0 ? edge : 0), src + (dj > 0 ? edge : 0),
         (size_t)((hi - lo) * w - edge) * sizeof *dst);
  for (real *end = dst + (hi - lo) * w; edge > 0 && dst < end; dst += w)
    for (Index x = 0; x < edge; x++) dst[dj < 0 ? x : w - 1 - x] = 0;
}

/* One row of the column matrix: input channel c at kernel offset (di, dj). */
static void im2col_row(const Act *in, size_t c, Index di, Index dj, Index sh, Index sw,
                       size_t oh, size_t ow, size_t row0, size_t rows, real *dst) {
  bool moved = sh == 1 && sw == 1 && ow == in->w;
  for (size_t r = row0, count; r < row0 + rows; r += count, dst += count * ow) {
    const real *plane = act_plane(in, r / oh, c);
    Index y = (Index)(r % oh) * sh + di;
    count = 1;
    if (moved) {
      count = oh - r % oh < row0 + rows - r ? oh - r % oh : row0 + rows - r;
      moved_rows(plane, (Index)in->h, (Index)in->w, (Index)(r % oh), (Index)count, di, dj,
                 dst);
    } else if (y < 0 || y >= (Index)in->h) {
      memset(dst, 0, ow * sizeof *dst);
    } else {
      gather_row(plane + (size_t)y * in->w, (Index)in->w, dj, sw, dst, (Index)ow);
    }
  }
}

void im2col(const Act *in, const ConvGeometry *g, size_t oh, size_t ow, size_t row0,
            size_t rows, real *cols, size_t ld) {
  for (size_t c = 0; c < in->c; c++)
    for (size_t i = 0; i < g->kh; i++)
      for (size_t j = 0; j < g->kw; j++, cols += ld)
        im2col_row(in, c, (Index)i - (Index)g->ph, (Index)j - (Index)g->pw, (Index)g->sh,
                   (Index)g->sw, oh, ow, row0, rows, cols);
}

void im2col_flipped(const Act *in, const ConvGeometry *g, size_t row0, size_t rows,
                    real *cols, size_t ld) {
  for (size_t c = 0; c < in->c; c++)
    for (size_t i = 0; i < g->kh; i++)
      for (size_t j = 0; j < g->kw; j++, cols += ld)
        im2col_row(in, c, (Index)g->ph - (Index)i, (Index)g->pw - (Index)j, 1, 1, in->h,
                   in->w, row0, rows, cols);
}

void col2im_add(const real *cols, const ConvGeometry *g, size_t oh, size_t ow,
                const Act *in, size_t n) {
  for (size_t c = 0; c < in->c; c++) {
    real *plane = act_plane(in, n, c);
    for (size_t i = 0; i < g->kh; i++)
      for (size_t j = 0; j < g->kw; j++, cols += oh * ow) {
        Index dj = (Index)j - (Index)g->pw;
        Index lo = dj < 0 ? (-dj + (Index)g->sw - 1) / (Index)g->sw : 0;
        for (size_t y = 0; y < oh; y++) {
          Index iy = (Index)(y * g->sh + i) - (Index)g->ph;
          if (iy < 0 || iy >= (Index)in->h) continue;
          real *dst = plane + (size_t)iy * in->w + dj;
          const real *src = cols + y * ow;
          for (Index x = lo; x < (Index)ow && x * (Index)g->sw + dj < (Index)in->w; x++)
            dst[x * (Index)g->sw] += src[x];
        }
      }
  }
}

/* ---- convolutions that halve each side: those of the standard networks ---- */

bool conv_halves(const ConvGeometry *g, size_t h, size_t w) {
  return g->kh == 2 && g->kw == 2 && g->sh == 2 && g->sw == 2 && g->ph == 0 &&
         g->pw == 0 && h > 0 && w > 0 && h % 2 == 0 && w % 2 == 0;
}

CLONES static void gather_every(const real *restrict src, size_t step, size_t n,
                                real *restrict dst) {
  if (step == 2)
    for (size_t x = 0; x < n; x++) dst[x] = src[2 * x];
  else
    for (size_t x = 0; x < n; x++) dst[x] = src[step * x];
}

CLONES static void spread_every(const real *restrict src, size_t step, size_t n,
                                real *restrict dst) {
  if (step == 2)
    for (size_t x = 0; x < n; x++) dst[2 * x] = src[x];
  else
    for (size_t x = 0; x < n; x++) dst[step * x] = src[x];
}

/* The columns of one parity: x's planes from (y0, x0) on, every step-th row and
 * column, sample by sample. */
static size_t every_plane(const Act *x, size_t c, size_t y0, size_t x0, size_t step,
                          real *cols, bool back) {
  size_t rows = x->h / step, n = x->w / step, at = 0;
  for (size_t s = 0; s < x->n; s++)
    for (size_t y = 0; y < rows; y++, at += n) {
      real *row = act_plane(x, s, c) + (y0 + y * step) * x->w + x0;
      if (back)
        spread_every(cols + at, step, n, row);
      else
        gather_every(row, step, n, cols + at);
    }
  return at;
}

void conv_halving_columns(const Act *x, size_t nest, real *cols, bool back) {
  size_t step = (size_t)2 << nest, codes = (size_t)1 << 2 * nest;
  for (size_t c = 0; c < x->c; c++)
    for (size_t tap = 0; tap < 4; tap++)
      for (size_t code = 0; code < codes; code++) {
        /* The code's digits, first the finest: the parities of the result's pixel. */
        size_t y0 = tap / 2, x0 = tap % 2;
        for (size_t digit = 0; digit < nest; digit++) {
          size_t parity = code >> 2 * (nest - 1 - digit) & 3;
          y0 += (parity >> 1) << (digit + 1);
          x0 += (parity & 1) << (digit + 1);
        }
        cols += every_plane(x, c, y0, x0, step, cols, back);
      }
}

void conv_columns(const Act *in, const ConvGeometry *g, const Act *out, real *cols) {
  if (conv_halves(g, in->h, in->w))
    conv_halving_columns(in, out->nest, cols, false);
  else
    im2col(in, g, out->h, out->w, 0, in->n * out->h, cols, act_pixels(out));
}

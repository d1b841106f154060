/* The columns of a convolution: one for each output pixel, listing its inputs. */
#include <string.h>

#include "math/conv.h"

typedef ptrdiff_t Index;

/* dst[x] = src[x·stride + first] for x < n, 0 where that falls outside
 * 0..width-1. */
CLONES static void gather_row(const real *src, Index width, Index first, Index stride,
                              real *dst, Index n) {
  Index lo = first < 0 ? (-first + stride - 1) / stride : 0;
  Index hi = first < width ? (width - 1 - first) / stride + 1 : 0;
  if (hi > n) hi = n;
  if (lo > hi) lo = hi;
  for (Index x = 0; x < lo; x++) dst[x] = 0;
  if (stride == 2) /* a stride that is known when compiled is read with vectors */
    for (Index x = lo; x < hi; x++) dst[x] = src[x * 2 + first];
  else
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

/* The transpose of any convolution (math/conv_transpose.h). */
#include "math/conv_transpose.h"

#include <string.h>

#include "base/size.h"
#include "base/threads.h"
#include "math/gemm.h"

/* Channels of an input's gradient that are formed and added together, and the fewest
 * where threads would have nothing to do. */
#define SOME_CHANNELS ((size_t)16)
#define FEW_CHANNELS ((size_t)4)
/* Rows of an input's gradient that repay what is made twice at their edges. */
#define LEAST_ROWS ((size_t)4)

typedef ptrdiff_t Index;

size_t conv_transpose_scratch(const ConvGeometry *g, const Act *in, const Act *out,
                              int threads) {
  return (size_t)threads * min_size(in->c, SOME_CHANNELS) * g->kh * g->kw * out->h *
         out->w;
}

/* Some rows of an image. */
typedef struct Rows {
  size_t first, count;
} Rows;

/* dst[x·stride] += src[x] for lo ≤ x < hi. */
CLONES static void add_row(const real *src, Index lo, Index hi, Index stride, real *dst) {
  if (stride == 2)
    for (Index x = lo; x < hi; x++) dst[x * 2] += src[x];
  else
    for (Index x = lo; x < hi; x++) dst[x * stride] += src[x];
}

/* Rows `to` of in[n,c,·,·] += the columns' numbers, the transpose of im2col, of rows
 * `from` of the output: cols is [c·kh·kw, from.count·ow]. */
static void col2im_add(const real *cols, const ConvGeometry *g, Rows from, size_t ow,
                       const Act *in, size_t n, Rows to) {
  for (size_t c = 0; c < in->c; c++) {
    real *plane = act_plane(in, n, c);
    for (size_t i = 0; i < g->kh; i++)
      for (size_t j = 0; j < g->kw; j++, cols += from.count * ow) {
        Index dj = (Index)j - (Index)g->pw;
        Index sw = (Index)g->sw, lo = dj < 0 ? (-dj + sw - 1) / sw : 0;
        Index hi = dj < (Index)in->w ? ((Index)in->w - 1 - dj) / sw + 1 : 0;
        if (hi > (Index)ow) hi = (Index)ow;
        for (size_t y = 0; y < from.count; y++) {
          size_t iy = (from.first + y) * g->sh + i; /* below 0: large */
          iy -= g->ph;
          if (iy - to.first >= to.count) continue;
          add_row(cols + y * ow, lo, hi, sw, plane + iy * in->w + dj);
        }
      }
  }
}

/* Some channels and rows of a sample of an input's gradient. */
typedef struct InputPiece {
  Act channels;
  size_t first, n; /* channel; sample */
  Rows rows;
} InputPiece;

/* Rows of the output that have read these of the input. */
static Rows rows_that_read(const ConvGeometry *g, const Act *dout, Rows in) {
  size_t before = in.first + g->ph, last = before + in.count - 1;
  size_t first = before < g->kh ? 0 : (before - g->kh) / g->sh + 1;
  size_t end = min_size(last / g->sh + 1, dout->h);
  return (Rows){first, end > first ? end - first : 0};
}

static void input_gradient_piece(const real *weight, const ConvGeometry *g,
                                 const Act *dout, const InputPiece *p, size_t k,
                                 real *cols) {
  const Act *a = &p->channels;
  size_t kk = g->kh * g->kw;
  Rows from = rows_that_read(g, dout, p->rows);
  size_t pixels = from.count * dout->w;
  gemm(g->precision, TRANS, NO_TRANS, a->c * kk, pixels, dout->c, weight + p->first * kk,
       k, act_plane(dout, p->n, 0) + from.first * dout->w, dout->cs, NULL, cols, pixels);
  for (size_t c = 0; c < a->c; c++)
    memset(act_plane(a, p->n, c) + p->rows.first * a->w, 0,
           p->rows.count * a->w * sizeof(real));
  col2im_add(cols, g, from, dout->w, a, p->n, p->rows);
}

/* Rows of a piece of an input's gradient: all, unless threads would have nothing to do.
 */
static size_t rows_of_piece(const Act *din, size_t pieces, int threads) {
  size_t wanted = 2 * (size_t)threads, blocks = (wanted + pieces - 1) / pieces;
  if (threads <= 2 || pieces >= (size_t)threads) return din->h;
  return max_size((din->h + blocks - 1) / blocks, LEAST_ROWS);
}

Transpose conv_transpose_plan(const real *weight, const ConvGeometry *g, const Act *dout,
                              const Act *din, real *scratch, int threads) {
  Transpose t = {.weight = weight, .g = g, .dout = dout, .din = din, .scratch = scratch};
  t.some = SOME_CHANNELS;
  while (t.some > FEW_CHANNELS && din->c * dout->n < t.some * (size_t)threads)
    t.some /= 2;
  t.some = min_size(t.some, din->c); /* the scratch has room for no more */
  t.blocks = (din->c + t.some - 1) / t.some;
  t.rows = rows_of_piece(din, t.blocks * dout->n, threads);
  t.cuts = (din->h + t.rows - 1) / t.rows;
  t.pieces = t.blocks * dout->n * t.cuts;
  return t;
}

/* Columns of some channels of a sample are added where they were read. */
void conv_transpose_piece(const Transpose *t, size_t i) {
  const Act *din = t->din;
  size_t kk = t->g->kh * t->g->kw, pixels = t->dout->h * t->dout->w;
  size_t at = i / t->cuts, row = i % t->cuts * t->rows, c = at % t->blocks * t->some;
  InputPiece p = {act_channels(din, c, min_size(din->c - c, t->some)),
                  c,
                  at / t->blocks,
                  {row, min_size(din->h - row, t->rows)}};
  input_gradient_piece(t->weight, t->g, t->dout, &p, din->c * kk,
                       t->scratch + (size_t)omp_get_thread_num() * t->some * kk * pixels);
}

void conv_transpose(const real *weight, const ConvGeometry *g, const Act *dout,
                    const Act *din, real *scratch, int threads) {
  Transpose t = conv_transpose_plan(weight, g, dout, din, scratch, threads);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < (Index)t.pieces; i++) conv_transpose_piece(&t, (size_t)i);
}

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

/* The gradient of the input of any convolution: columns of some channels of a sample are
 * added where they were read. */
void conv_transpose(const real *weight, const ConvGeometry *g, const Act *dout,
                    const Act *din, real *scratch, int threads) {
  size_t pixels = dout->h * dout->w, kk = g->kh * g->kw, k = din->c * kk;
  size_t most = SOME_CHANNELS;
  while (most > FEW_CHANNELS && din->c * dout->n < most * (size_t)threads) most /= 2;
  size_t blocks = (din->c + most - 1) / most;
  size_t high = rows_of_piece(din, blocks * dout->n, threads);
  size_t cuts = (din->h + high - 1) / high;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Index i = 0; i < (Index)(blocks * dout->n * cuts); i++) {
    size_t at = (size_t)i / cuts, row = (size_t)i % cuts * high, c = at % blocks * most;
    InputPiece p = {act_channels(din, c, min_size(din->c - c, most)),
                    c,
                    at / blocks,
                    {row, min_size(din->h - row, high)}};
    input_gradient_piece(weight, g, dout, &p, k,
                         scratch + (size_t)omp_get_thread_num() * most * kk * pixels);
  }
}

/* One 1×1 convolution of the features of x for all layers of a level. */
#include "flow/features.h"

#include <string.h>

#include "base/threads.h"
#include "math/gemm.h"

/* A piece of work is a panel of columns by so many rows, for each of which it is packed
 * once; a product gives the same bits however it is cut. */
#define FEATURE_ROWS ((size_t)96)
#define GRADIENT_ROWS ((size_t)64)

void features_crop(const Act *u, const Act *to, int threads) {
  size_t top = (u->h - to->h) / 2, left = (u->w - to->w) / 2;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t c = 0; c < u->c; c++)
    for (size_t n = 0; n < u->n; n++) {
      const real *src = act_plane(u, n, c) + top * u->w + left;
      real *dst = act_plane(to, n, c);
      for (size_t y = 0; y < to->h; y++)
        memcpy(dst + y * to->w, src + y * u->w, to->w * sizeof *dst);
    }
}

void features_uncrop(const Act *from, const Act *u, int threads) {
  size_t top = (u->h - from->h) / 2, left = (u->w - from->w) / 2;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t c = 0; c < u->c; c++)
    for (size_t n = 0; n < u->n; n++) {
      real *dst = act_plane(u, n, c);
      const real *src = act_plane(from, n, c);
      if (u->h * u->w > from->h * from->w) memset(dst, 0, u->h * u->w * sizeof *dst);
      dst += top * u->w + left;
      for (size_t y = 0; y < from->h; y++)
        memcpy(dst + y * u->w, src + y * from->w, from->w * sizeof *dst);
    }
}

static size_t pieces_of(size_t all, size_t each) { return (all + each - 1) / each; }

static size_t piece_size(size_t all, size_t each, size_t i) {
  return all - i * each < each ? all - i * each : each;
}

/* Some rows of a part: those from `first` on; the part begins at `begins` of all. */
typedef struct Piece {
  size_t part, begins, first, rows;
} Piece;

/* Pieces of so many rows, of all parts. */
static size_t count_pieces(const Features *f, size_t each) {
  size_t n = 0;
  for (size_t p = 0; p < f->parts; p++) n += pieces_of(f->weight[p]->rows, each);
  return n;
}

static Piece find_piece(const Features *f, size_t each, size_t i) {
  size_t begins = 0, p = 0;
  for (size_t n; i >= (n = pieces_of(f->weight[p]->rows, each)); i -= n)
    begins += f->weight[p++]->rows;
  return (Piece){p, begins, i * each, piece_size(f->weight[p]->rows, each, i)};
}

void features_forward(const Features *f, const Act *u, const Act *out, int threads) {
  size_t all = act_pixels(u), panels = pieces_of(all, PANEL);
  size_t pieces = count_pieces(f, FEATURE_ROWS);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < pieces * panels; i++) {
    Piece p = find_piece(f, FEATURE_ROWS, i % pieces);
    size_t q = i / pieces, at = q * PANEL;
    gemm(f->precision, NO_TRANS, NO_TRANS, p.rows, piece_size(all, PANEL, q), f->channels,
         f->weight[p.part]->value + p.first * f->channels, f->channels, u->data + at,
         u->cs, NULL, out->data + (p.begins + p.first) * out->cs + at, out->cs);
  }
}

/* A panel of columns of one piece's gradient, from its rows of dout. */
static void weight_gradient(Precision how, const Piece *p, real *dw, real beta,
                            const Act *u, size_t q, const Act *dout) {
  real *to = dw + p->first * u->c + q * PANEL;
  gemm(how, NO_TRANS, TRANS, p->rows, piece_size(u->c, PANEL, q), act_pixels(u),
       dout->data + (p->begins + p->first) * dout->cs, dout->cs,
       u->data + q * PANEL * u->cs, u->cs, beta == 0 ? NULL : to, to, u->c);
}

/* A panel of pixels of some channels of u's gradient: all parts' one after the other. */
static void input_gradient(const Features *f, const Act *dout, const Act *du,
                           size_t first, size_t q) {
  size_t at = q * PANEL, n = piece_size(act_pixels(du), PANEL, q);
  size_t channels = piece_size(f->channels, GRADIENT_ROWS, first);
  first *= GRADIENT_ROWS;
  const real *d = dout->data + at;
  real *to = du->data + first * du->cs + at;
  for (size_t p = 0; p < f->parts; p++) {
    const Param *w = f->weight[p];
    gemm(f->precision, TRANS, NO_TRANS, channels, n, w->rows, w->value + first,
         f->channels, d, dout->cs, p == 0 ? NULL : to, to, du->cs);
    d += w->rows * dout->cs;
  }
}

void features_backward(const Features *f, const Act *u, const Act *dout, const Act *du,
                       int threads) {
  size_t pieces = count_pieces(f, GRADIENT_ROWS), columns = pieces_of(f->channels, PANEL);
  size_t some = pieces_of(f->channels, GRADIENT_ROWS);
  size_t panels = pieces_of(act_pixels(u), PANEL);
  real *dw[FEATURES_PARTS] = {0}, beta[FEATURES_PARTS] = {0};
  for (size_t p = 0; p < f->parts; p++) dw[p] = param_accumulate(f->weight[p], &beta[p]);
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < pieces * columns; i++) {
      Piece p = find_piece(f, GRADIENT_ROWS, i / columns);
      weight_gradient(f->precision, &p, dw[p.part], beta[p.part], u, i % columns, dout);
    }
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < some * panels; i++)
      input_gradient(f, dout, du, i % some, i / some);
  }
}

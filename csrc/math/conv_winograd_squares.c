/* Patches of squares from pixels, and pixels from products (math/conv_winograd.h). */
#include "math/conv_winograd_squares.h"

#include <string.h>

Cut squares_cut(const Act *a, size_t squares) {
  Cut t = {
      .n = a->n, .h = a->h, .w = a->w, .high = (a->h + 3) / 4, .wide = (a->w + 3) / 4};
  t.all = t.n * t.high;
  t.rows = min_size(max_size(squares / t.wide, 1), t.all);
  t.chunks = pieces_of(t.all, t.rows);
  return t;
}

/* ---- patches ---- */

static const real zeros[PANEL];

/* One row of squares; `pixels` begins with row y0 of the image. */
static void make_row(const Cut *t, const Source *from, const real *pixels, size_t y0,
                     size_t square_row, Positions v, size_t next, double *sums) {
  size_t count = from->patches ? 6 : 4;
  PixelRow row[6];
  for (size_t i = 0; i < count; i++) {
    size_t y = 4 * square_row + i; /* one more, with patches */
    bool inside = from->patches ? y >= 1 && y <= t->h : y < t->h;
    if (from->patches) y--;
    row[i] = inside ? (PixelRow){pixels + (y - y0) * t->w * PANEL, PANEL}
                    : (PixelRow){zeros, 0};
  }
#if HAVE_AVX512_BF16
  if (from->pairs) {
    conv_patches_avx512_bf16(row, t->w, t->wide, v, next);
    return;
  }
#endif
  if (from->patches) {
    BY_ISA(conv_patches)(row, t->w, t->wide, v, next);
    return;
  }
  real sum[PANEL] = {0};
  BY_ISA(conv_spread)(row, t->w, t->wide, v, next, sum);
  for (size_t c = 0; sums != NULL && c < PANEL; c++) sums[c] += (double)sum[c];
}

void squares_make(const Cut *t, const Source *from, size_t b, size_t row, size_t rows,
                  real *pixels, Positions v, size_t next, double *sums) {
  const Act *a = from->a;
  size_t around = from->patches ? 1 : 0;
  for (size_t end = row + rows, some; row < end; row += some) {
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there are rows */
    size_t n = row / t->high, first = row % t->high;
    some = min_size(end - row, t->high - first);
    size_t y0 = first > 0 ? 4 * first - around : 0;
    size_t y1 = min_size(4 * (first + some) + around, t->h);
    panel_transpose(act_plane(a, n, b * PANEL) + y0 * t->w, a->cs, (y1 - y0) * t->w,
                    panel_columns(a->c, b), pixels);
    for (size_t i = 0; i < some; i++, v.p += t->wide * next)
      make_row(t, from, pixels, y0, first + i, v, next, sums);
  }
}

/* ---- squares ---- */

/* Pixels of block b of channels, some rows of image n, to their planes. */
static void put_pixels(const Act *out, const Put *put, size_t b, size_t n, size_t y,
                       size_t count, const real *pixels) {
  real turned[PANEL * PANEL], *to = act_plane(out, n, b * PANEL) + y * out->w;
  real *other = put_other(put, n, b * PANEL, y * out->w);
  size_t channels = panel_columns(out->c, b);
  for (size_t i = 0, some; i < count; i += some, pixels += some * PANEL) {
    some = min_size(count - i, PANEL);
    panel_transpose(pixels, PANEL, channels, some, turned);
    put_rows(put->how, turned, PANEL, channels, some, to + i, out->cs,
             other ? other + i : NULL, put->other.cs);
  }
}

void squares_put(const Cut *t, const Act *out, const Put *put, size_t b, size_t row,
                 size_t rows, Positions m, const real *bias, real *pixels) {
  for (size_t i = row; i < row + rows; i++, m.p += t->wide * PANEL) {
    size_t y = i % t->high * 4, lines = min_size(4, t->h - y);
    BY_ISA(conv_squares)(m, t->wide, bias + b * PANEL, lines, t->w, pixels);
    put_pixels(out, put, b, i / t->high, y, lines * t->w, pixels);
  }
}

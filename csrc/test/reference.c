/* Convolutions in plain loops. */
#include "test/reference.h"

#ifdef CGLOW_REFERENCE

/* Where tap (i, j) of output pixel (y, x) reads; false outside the image. */
static bool source(const ReferenceConv *r, size_t y, size_t x, size_t i, size_t j,
                   size_t *row, size_t *col) {
  ptrdiff_t sy = (ptrdiff_t)(y * r->g.sh + i) - (ptrdiff_t)r->g.ph;
  ptrdiff_t sx = (ptrdiff_t)(x * r->g.sw + j) - (ptrdiff_t)r->g.pw;
  if (sy < 0 || sx < 0 || sy >= (ptrdiff_t)r->h || sx >= (ptrdiff_t)r->w) return false;
  *row = (size_t)sy;
  *col = (size_t)sx;
  return true;
}

static size_t x_at(const ReferenceConv *r, size_t n, size_t c, size_t row, size_t col) {
  return ((n * r->in + c) * r->h + row) * r->w + col;
}

static size_t y_at(const ReferenceConv *r, size_t n, size_t o, size_t y, size_t x) {
  return ((n * r->out + o) * r->oh + y) * r->ow + x;
}

static size_t weight_at(const ReferenceConv *r, size_t o, size_t c, size_t i, size_t j) {
  return ((o * r->in + c) * r->g.kh + i) * r->g.kw + j;
}

static double one_pixel(const ReferenceConv *r, const real *x, const real *weight,
                        size_t n, size_t o, size_t py, size_t px) {
  double sum = 0;
  size_t row, col;
  for (size_t c = 0; c < r->in; c++)
    for (size_t i = 0; i < r->g.kh; i++)
      for (size_t j = 0; j < r->g.kw; j++)
        if (source(r, py, px, i, j, &row, &col))
          sum += (double)weight[weight_at(r, o, c, i, j)] *
                 (double)x[x_at(r, n, c, row, col)];
  return sum;
}

void reference_conv(const ReferenceConv *r, const real *x, const real *weight,
                    const real *bias, real *y) {
  for (size_t n = 0; n < r->n; n++)
    for (size_t o = 0; o < r->out; o++)
      for (size_t py = 0; py < r->oh; py++)
        for (size_t px = 0; px < r->ow; px++)
          y[y_at(r, n, o, py, px)] = (real)(one_pixel(r, x, weight, n, o, py, px) +
                                            (bias ? (double)bias[o] : 0));
}

/* Which output row reads input row `at` with tap `tap`, if one does. */
static bool reader(size_t at, size_t pad, size_t tap, size_t stride, size_t count,
                   size_t *out) {
  if (at + pad < tap || (at + pad - tap) % stride != 0) return false;
  *out = (at + pad - tap) / stride;
  return *out < count;
}

static double one_dx(const ReferenceConv *r, const real *weight, const real *dy, size_t n,
                     size_t c, size_t row, size_t col) {
  double sum = 0;
  size_t py, px;
  for (size_t o = 0; o < r->out; o++)
    for (size_t i = 0; i < r->g.kh; i++)
      for (size_t j = 0; j < r->g.kw; j++)
        if (reader(row, r->g.ph, i, r->g.sh, r->oh, &py) &&
            reader(col, r->g.pw, j, r->g.sw, r->ow, &px))
          sum += (double)weight[weight_at(r, o, c, i, j)] *
                 (double)dy[y_at(r, n, o, py, px)];
  return sum;
}

static double one_dweight(const ReferenceConv *r, const real *x, const real *dy, size_t o,
                          size_t c, size_t i, size_t j) {
  double sum = 0;
  size_t row, col;
  for (size_t n = 0; n < r->n; n++)
    for (size_t py = 0; py < r->oh; py++)
      for (size_t px = 0; px < r->ow; px++)
        if (source(r, py, px, i, j, &row, &col))
          sum += (double)dy[y_at(r, n, o, py, px)] * (double)x[x_at(r, n, c, row, col)];
  return sum;
}

static double one_dbias(const ReferenceConv *r, const real *dy, size_t o) {
  double sum = 0;
  for (size_t n = 0; n < r->n; n++)
    for (size_t p = 0; p < r->oh * r->ow; p++) sum += (double)dy[y_at(r, n, o, 0, 0) + p];
  return sum;
}

void reference_conv_backward(const ReferenceConv *r, const real *x, const real *weight,
                             const real *dy, real *dx, real *dweight, real *dbias) {
  for (size_t n = 0; n < r->n; n++)
    for (size_t c = 0; c < r->in; c++)
      for (size_t row = 0; row < r->h; row++)
        for (size_t col = 0; col < r->w; col++)
          dx[x_at(r, n, c, row, col)] = (real)one_dx(r, weight, dy, n, c, row, col);
  for (size_t o = 0; o < r->out; o++) {
    for (size_t c = 0; c < r->in; c++)
      for (size_t i = 0; i < r->g.kh; i++)
        for (size_t j = 0; j < r->g.kw; j++)
          dweight[weight_at(r, o, c, i, j)] = (real)one_dweight(r, x, dy, o, c, i, j);
    dbias[o] = (real)one_dbias(r, dy, o);
  }
}

#endif

/* Turned, moved and resized pictures; changed colours. */
#include "image/augment.h"

#include <math.h>

/* Along one axis: the pixel before a position, the one after, and the share of the
 * latter. */
typedef struct Between {
  size_t before, after;
  real share;
} Between;

/* `at` from the middle of n pixels; nearest: no share but 0 and 1. */
static Between between(double at, size_t n, bool nearest) {
  double last = (double)(n - 1);
  at += 0.5 * last;
  at = at > 0 ? at : 0; /* NaN becomes 0, too */
  at = at < last ? at : last;
  if (nearest) at = floor(at + 0.5);
  size_t before = (size_t)at;
  size_t after = before + 1 < n ? before + 1 : before;
  return (Between){before, after, (real)(at - (double)before)};
}

/* The blend of each of some planes, which lie `apart`, at one place. */
static void blend(const real *in, size_t planes, size_t apart, size_t width, Between row,
                  Between column, real *out) {
  const real *a = in + row.before * width, *b = in + row.after * width;
  for (size_t p = 0; p < planes; p++, a += apart, b += apart, out += apart) {
    real above = a[column.before] + column.share * (a[column.after] - a[column.before]);
    real below = b[column.before] + column.share * (b[column.after] - b[column.before]);
    *out = above + row.share * (below - above);
  }
}

static void round_mask(real *out, size_t planes, size_t apart) {
  for (size_t p = 0; p < planes; p++) out[p * apart] = out[p * apart] >= (real)0.5;
}

static void round_labels(real *out, size_t planes, size_t apart) {
  size_t best = 0;
  for (size_t p = 1; p < planes; p++)
    if (out[p * apart] > out[best * apart]) best = p;
  for (size_t p = 0; p < planes; p++) out[p * apart] = p == best;
}

static void recolour(real *out, size_t planes, size_t pixels, const real *gain,
                     const real *offset) {
  for (size_t p = 0; p < planes; p++, out += pixels)
    for (size_t i = 0; i < pixels; i++) out[i] = gain[p] * out[i] + offset[p];
}

void augment(const real *in, size_t planes, ImageSize size, const AugmentMap *map,
             AugmentKind kind, const real *gain, const real *offset, real *out) {
  size_t pixels = size.height * size.width;
  bool nearest = kind == AUGMENT_NEAREST;
  for (size_t y = 0; y < size.height; y++)
    for (size_t x = 0; x < size.width; x++) {
      double i = (double)y - 0.5 * (double)(size.height - 1);
      double j = (double)x - 0.5 * (double)(size.width - 1);
      double row = map->rows[0] * i + map->rows[1] * j + map->rows[2];
      double column = map->columns[0] * i + map->columns[1] * j + map->columns[2];
      real *to = out + y * size.width + x;
      blend(in, planes, pixels, size.width, between(row, size.height, nearest),
            between(column, size.width, nearest), to);
      if (kind == AUGMENT_MASK) round_mask(to, planes, pixels);
      if (kind == AUGMENT_LABELS) round_labels(to, planes, pixels);
    }
  if (gain != NULL) recolour(out, planes, pixels, gain, offset);
}

/* Resizing, cropping and turning. */
#include "image/geometry.h"

#include <string.h>

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

size_t image_axis_taps(size_t in, size_t out, ImageMethod method) {
  switch (method) {
    case IMAGE_NEAREST:
      return 1;
    case IMAGE_BILINEAR:
      return smaller(in, 2);
    default: /* a footprint of in/out pixels touches one more at each end */
      return smaller(in, in / out + 2);
  }
}

/* The input pixel that holds the centre of output pixel i: ⌊(i + ½)·in/out⌋. */
static void nearest(ImageAxis *a, size_t i) {
  a->first[i] = (2 * i + 1) * a->in / (2 * a->out);
  a->weight[i] = 1;
}

/* The centre lies at (i + ½)·in/out − ½ in units of input pixels. */
static void bilinear(ImageAxis *a, size_t i) {
  double last = (double)(a->in - 1);
  double at = ((double)i + 0.5) * (double)a->in / (double)a->out - 0.5;
  at = at < 0 ? 0 : at > last ? last : at;
  double *w = a->weight + i * a->taps;
  a->first[i] = smaller((size_t)at, a->in - a->taps);
  w[0] = 1;
  if (a->taps < 2) return;
  w[1] = at - (double)a->first[i];
  w[0] = 1 - w[1];
}

/* In units of 1/out input pixels the footprint is [i·in, (i+1)·in) and input
 * pixel j is [j·out, (j+1)·out): the overlaps are whole numbers. */
static void area(ImageAxis *a, size_t i) {
  size_t begin = i * a->in, end = begin + a->in;
  size_t first = smaller(begin / a->out, a->in - a->taps);
  a->first[i] = first;
  for (size_t t = 0; t < a->taps; t++) {
    size_t left = (first + t) * a->out, right = left + a->out;
    left = left > begin ? left : begin;
    right = smaller(right, end);
    a->weight[i * a->taps + t] =
        right > left ? (double)(right - left) / (double)a->in : 0;
  }
}

void image_axis_fill(ImageAxis *axis, ImageMethod method) {
  for (size_t i = 0; i < axis->out; i++) switch (method) {
      case IMAGE_NEAREST:
        nearest(axis, i);
        break;
      case IMAGE_BILINEAR:
        bilinear(axis, i);
        break;
      default:
        area(axis, i);
    }
}

/* line = the weighted sum of the input rows under output row i. */
static void blend_rows(const real *in, const ImageAxis *rows, size_t i, size_t width,
                       double *line) {
  memset(line, 0, width * sizeof *line);
  for (size_t t = 0; t < rows->taps; t++) {
    double w = rows->weight[i * rows->taps + t];
    const real *row = in + (rows->first[i] + t) * width;
    if (w == 0) continue; /* also keeps a NaN outside the footprint out */
    for (size_t x = 0; x < width; x++) line[x] += w * (double)row[x];
  }
}

static void blend_columns(const double *line, const ImageAxis *columns, real *out) {
  for (size_t i = 0; i < columns->out; i++) {
    const double *w = columns->weight + i * columns->taps;
    const double *p = line + columns->first[i];
    double sum = 0;
    for (size_t t = 0; t < columns->taps; t++)
      if (w[t] != 0) sum += w[t] * p[t];
    out[i] = (real)sum;
  }
}

void image_resize(const real *in, size_t planes, const ImageAxis *rows,
                  const ImageAxis *columns, double *line, real *out) {
  for (size_t p = 0; p < planes; p++, in += rows->in * columns->in)
    for (size_t i = 0; i < rows->out; i++, out += columns->out) {
      blend_rows(in, rows, i, columns->in, line);
      blend_columns(line, columns, out);
    }
}

void image_crop(const real *in, size_t planes, ImageSize whole, size_t top, size_t left,
                ImageSize size, real *out) {
  for (size_t p = 0; p < planes; p++)
    for (size_t y = 0; y < size.height; y++, out += size.width)
      memcpy(out, in + (p * whole.height + top + y) * whole.width + left,
             size.width * sizeof *out);
}

void image_paste(const real *in, size_t planes, ImageSize size, real *out,
                 ImageSize whole, size_t top, size_t left) {
  for (size_t p = 0; p < planes; p++)
    for (size_t y = 0; y < size.height; y++, in += size.width)
      memcpy(out + (p * whole.height + top + y) * whole.width + left, in,
             size.width * sizeof *in);
}

void image_flip_columns(const real *in, size_t planes, ImageSize size, real *out) {
  size_t width = size.width;
  for (size_t r = 0; r < planes * size.height; r++, in += width, out += width)
    for (size_t x = 0; x < width; x++) out[x] = in[width - 1 - x];
}

void image_flip_rows(const real *in, size_t planes, ImageSize size, real *out) {
  for (size_t p = 0; p < planes; p++, in += size.height * size.width)
    for (size_t y = size.height; y-- > 0; out += size.width)
      memcpy(out, in + y * size.width, size.width * sizeof *out);
}

/* Which input pixel the border rule puts `offset` pixels from the first one,
 * for a position that is `at` from the start of the padded axis. */
static size_t source_of(size_t at, size_t offset, size_t n, bool reflect) {
  bool before = at < offset;
  size_t distance = before ? offset - at : at - offset;
  if (!reflect) return before ? 0 : smaller(distance, n - 1);
  if (n == 1) return 0;
  distance %= 2 * (n - 1); /* there and back again */
  return distance < n ? distance : 2 * (n - 1) - distance;
}

void image_pad(const real *in, size_t planes, ImageSize size, size_t top, size_t left,
               ImageSize whole, ImageBorder border, real value, real *out) {
  bool reflect = border == IMAGE_REFLECT;
  if (border == IMAGE_CONSTANT) {
    for (size_t i = 0; i < planes * whole.height * whole.width; i++) out[i] = value;
    image_paste(in, planes, size, out, whole, top, left);
    return;
  }
  for (size_t p = 0; p < planes; p++, in += size.height * size.width)
    for (size_t y = 0; y < whole.height; y++, out += whole.width) {
      const real *row = in + source_of(y, top, size.height, reflect) * size.width;
      for (size_t x = 0; x < whole.width; x++)
        out[x] = row[source_of(x, left, size.width, reflect)];
    }
}

void image_grey(const real *rgb, size_t pixels, real *grey) {
  const real *g = rgb + pixels, *b = g + pixels;
  for (size_t i = 0; i < pixels; i++)
    grey[i] =
        (real)(0.299 * (double)rgb[i] + 0.587 * (double)g[i] + 0.114 * (double)b[i]);
}

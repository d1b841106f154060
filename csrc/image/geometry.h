/* Geometry of images.  A stack of planes (channels, or a batch of them) is
 * planes × height × width numbers, row-major; positions count from 0. */
#ifndef CGLOW_IMAGE_GEOMETRY_H
#define CGLOW_IMAGE_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

/* How the pixels along one axis of the result are made from those along the
 * same axis of the input: pixel i is the sum over t < taps of
 * weight[i*taps + t] · input[first[i] + t].  Every tap lies inside. */
typedef struct ImageAxis {
  size_t in, out, taps;
  size_t *first;  /* out of them */
  double *weight; /* out*taps of them */
} ImageAxis;

typedef enum ImageMethod {
  IMAGE_NEAREST,
  IMAGE_BILINEAR, /* pixel centres aligned, edges repeated */
  IMAGE_AREA      /* mean over the pixel's exact footprint in the input */
} ImageMethod;

/* How many taps the axis needs; set in, out and taps, make room for `first`
 * and `weight`, then fill it. */
size_t image_axis_taps(size_t in, size_t out, ImageMethod method);
void image_axis_fill(ImageAxis *axis, ImageMethod method);

/* out: planes × rows->out × columns->out.  `line` holds columns->in numbers. */
void image_resize(const real *in, size_t planes, const ImageAxis *rows,
                  const ImageAxis *columns, double *line, real *out);

typedef struct ImageSize {
  size_t height, width;
} ImageSize;

/* Copy the window of `size` at (top, left). */
void image_crop(const real *in, size_t planes, ImageSize whole, size_t top, size_t left,
                ImageSize size, real *out);
/* Put `size` pixels of a part into the whole at (top, left). */
void image_paste(const real *in, size_t planes, ImageSize size, real *out,
                 ImageSize whole, size_t top, size_t left);

/* Mirror left and right, or top and bottom. */
void image_flip_columns(const real *in, size_t planes, ImageSize size, real *out);
void image_flip_rows(const real *in, size_t planes, ImageSize size, real *out);

typedef enum ImageBorder {
  IMAGE_CONSTANT,
  IMAGE_EDGE,   /* the edge pixel repeated */
  IMAGE_REFLECT /* mirrored at the edge pixel, which is not repeated; a border
                   may be wider than the image */
} ImageBorder;

/* Result of `whole`, with the input at (top, left). */
void image_pad(const real *in, size_t planes, ImageSize size, size_t top, size_t left,
               ImageSize whole, ImageBorder border, real value, real *out);

/* One plane from three, luma of ITU-R BT.601. */
void image_grey(const real *rgb, size_t pixels, real *grey);

#endif

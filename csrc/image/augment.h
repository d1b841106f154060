/* Augmentation: a picture resampled by an affine map and its colours changed, in one
 * pass.  Planes are height × width numbers each, row-major, one after the other. */
#ifndef CGLOW_IMAGE_AUGMENT_H
#define CGLOW_IMAGE_AUGMENT_H

#include "image/geometry.h"

/* What the planes hold, and so what lies between pixels. */
typedef enum AugmentKind {
  AUGMENT_IMAGE,   /* colours: blended bilinearly */
  AUGMENT_NEAREST, /* values that nothing may lie between: the nearest one */
  AUGMENT_MASK,    /* 0 and 1 in each plane: 1 where the blend is one half or more */
  AUGMENT_LABELS   /* one plane for each class, one of them 1: the largest blend */
} AugmentKind;

/* Pixel (i, j) of the result, counted from the middle of the picture, shows what the
 * input has at (rows[0]·i + rows[1]·j + rows[2], columns[0]·i + columns[1]·j +
 * columns[2]), in pixels from its middle; beyond the edge its last pixel goes on. */
typedef struct AugmentMap {
  double rows[3], columns[3];
} AugmentMap;

/* Plane p of the result is gain[p]·(…) + offset[p]; gain NULL: unchanged. */
void augment(const real *in, size_t planes, ImageSize size, const AugmentMap *map,
             AugmentKind kind, const real *gain, const real *offset, real *out);

#endif

/* Filling the holes of an image from what surrounds them. */
#ifndef CGLOW_IMAGE_INPAINT_H
#define CGLOW_IMAGE_INPAINT_H

#include "base/real.h"

/* valid: height x width, 0 = hole.  image: channels x height x width, filled in
 * place; pixels that are no hole stay as they are.  At least one pixel must be
 * valid. */

/* Fill from the rim inwards: each pixel becomes the median of the known ones in a square of
 * side 2*radius + 1.  scratch: 2*height*width + (2*radius + 1)^2 reals. */
void fill_median(real *image, const real *valid, size_t channels, size_t height,
                 size_t width, size_t radius, real *scratch);

/* Fill by the harmonic function through the rim: every hole pixel the mean of its four
 * neighbours, to within `tolerance`, or as near as max_sweeps bring it.
 * Successive over-relaxation, started from the rim inwards.  Returns the sweeps
 * of the slowest channel.  scratch: 2*height*width reals. */
size_t fill_diffusion(real *image, const real *valid, size_t channels, size_t height,
                      size_t width, double tolerance, size_t max_sweeps, real *scratch);

#endif

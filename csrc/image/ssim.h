/* Structural similarity of two planes: Wang, Bovik, Sheikh & Simoncelli, "Image Quality
 * Assessment: From Error Visibility to Structural Similarity", IEEE Transactions on
 * Image Processing 13(4), 2004, equation 13, under a Gaussian window of 11×11 pixels and
 * σ = 1.5, averaged over all places where the window lies inside the planes. */
#ifndef CGLOW_IMAGE_SSIM_H
#define CGLOW_IMAGE_SSIM_H

#include "base/real.h"

#define SSIM_WINDOW 11

/* Numbers that ssim needs for planes of this width. */
#define SSIM_WORK(width) ((size_t)5 * SSIM_WINDOW * (width))

/* Height and width are at least SSIM_WINDOW; `peak` is the largest value there can be. */
double ssim(const real *a, const real *b, size_t height, size_t width, double peak,
            double *work);

#endif

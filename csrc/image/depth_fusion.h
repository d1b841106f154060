/* A clean depth map from many noisy ones: neighbouring frames are moved into
 * the view of one frame by their poses, and each pixel takes the robust mean of
 * what was measured along its ray. */
#ifndef CGLOW_IMAGE_DEPTH_FUSION_H
#define CGLOW_IMAGE_DEPTH_FUSION_H

#include "base/real.h"

typedef struct Camera {
  double fx, fy, cx, cy; /* pinhole, pixels */
} Camera;

/* Depths in metres, 0 = no reading.  motion: 3x4 row-major, from the source
 * camera's coordinates to the target's.  out: the target's view, of the same
 * size; where several points meet, the nearest one.  Points at a depth step of
 * more than `jump` times the depth, where a Kinect invents readings between two
 * surfaces, are left out. */
void depth_reproject(const real *depth, size_t height, size_t width, const Camera *camera,
                     const double motion[12], double jump, real *out);

typedef struct FusionOptions {
  double tolerance; /* readings of one surface spread by tolerance*z^2 + 1 cm */
  size_t support;   /* fewest readings that make a pixel valid, >= 1 */
} FusionOptions;

/* stack: views x height x width of reprojected depths; own: the frame's own
 * depth; 0 = no reading in both.  clean, count: height x width; the fused depth
 * and how many readings agree on it, both 0 where there is no such surface.
 * scratch: views + 1 reals for each thread. */
void depth_fuse(const real *stack, const real *own, size_t views, size_t height,
                size_t width, const FusionOptions *options, real *scratch, real *clean,
                real *count, int threads);

#endif

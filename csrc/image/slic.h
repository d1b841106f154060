/* SLIC super-pixels (Achanta et al., PAMI 2012): k-means in colour and place,
 * each centre looking only at the pixels near it. */
#ifndef CGLOW_IMAGE_SLIC_H
#define CGLOW_IMAGE_SLIC_H

#include "base/real.h"

typedef struct SlicOptions {
  size_t segments;    /* wanted number of super-pixels, 1..height*width */
  double compactness; /* weight of place against colour, > 0; Lab has a range of 100 */
  size_t iterations;
} SlicOptions;

/* Scratch that slic needs, in bytes; false on overflow. */
bool slic_scratch(size_t height, size_t width, size_t *bytes);

/* image: channels x height x width in [0,1]; 3 channels are sRGB, others are
 * compared as they are (times 100).  labels: height x width, 1..n in order of
 * first appearance, every label one 4-connected region.  Returns n.
 * The same image gives the same labels, on any number of threads. */
size_t slic(const real *image, size_t channels, size_t height, size_t width,
            const SlicOptions *options, void *scratch, real *labels);

#endif

/* Activations as kernels see them: N samples of C planes of H×W numbers.
 * Planes are contiguous; samples and channels lie at any distance, so one
 * kernel serves tensors (N, C, H, W) and the channel-major layout
 * (C, N, H, W), in which a convolution over a whole batch is one GEMM. */
#ifndef CGLOW_BASE_ACT_H
#define CGLOW_BASE_ACT_H

#include <stdbool.h>

#include "base/real.h"

typedef struct Act {
  real *data;
  size_t n, c, h, w;
  size_t ns, cs; /* distance between samples, between channels */
} Act;

/* With one channel the two layouts are the same memory; it is then described as
 * (C, N, H, W), whose distance between channels is never less than what a GEMM
 * over the whole batch calls a row. */
static inline Act act_nchw(real *data, size_t n, size_t c, size_t h, size_t w) {
  return (Act){data, n, c, h, w, c * h * w, (c == 1 ? n : 1) * h * w};
}

static inline Act act_cnhw(real *data, size_t n, size_t c, size_t h, size_t w) {
  return (Act){data, n, c, h, w, h * w, n * h * w};
}

/* Channels c0 .. c0+c-1 of a. */
static inline Act act_channels(const Act *a, size_t c0, size_t c) {
  return (Act){a->data + c0 * a->cs, a->n, c, a->h, a->w, a->ns, a->cs};
}

/* Sample n of a alone. */
static inline Act act_sample(const Act *a, size_t n) {
  return (Act){a->data + n * a->ns, 1, a->c, a->h, a->w, a->ns, a->cs};
}

static inline real *act_plane(const Act *a, size_t n, size_t c) {
  return a->data + n * a->ns + c * a->cs;
}

static inline size_t act_pixels(const Act *a) { return a->n * a->h * a->w; }

/* Do the pixels of all samples follow each other within a channel? */
static inline bool act_batch_contiguous(const Act *a) {
  return a->n == 1 || a->ns == a->h * a->w;
}

#endif

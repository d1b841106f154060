/* upsample: every pixel becomes a block of f×f equal ones (nearest neighbour).
 *
 *   out[n,c,y,x] = in[n,c,y/f,x/f];   din = sum of dout over the block. */
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "nn/layer.h"

static bool shape(const Layer *l, const Shape *in, Shape *out, char *why) {
  size_t f = l->geometry.sh;
  if (in->flat) {
    snprintf(why, 160, "upsample wants images, got %zu flat features", in->c);
    return false;
  }
  if (in->h > INT32_MAX / f || in->w > INT32_MAX / f) {
    snprintf(why, 160, "upsample by %zu makes too many pixels of %zux%zu", f, in->h,
             in->w);
    return false;
  }
  *out = (Shape){in->c, f * in->h, f * in->w, false};
  return true;
}

static size_t scratch_size(const Layer *l, const Act *in, const Act *out, int threads) {
  (void)l, (void)in, (void)out, (void)threads;
  return 0;
}

/* One plane of h×w pixels to f·h × f·w: spread a row, then copy it. */
static void enlarge(const real *in, real *out, size_t h, size_t w, size_t f) {
  size_t wide = f * w;
  for (size_t y = 0; y < h; y++, in += w, out += f * wide) {
    for (size_t x = 0; x < w; x++)
      for (size_t j = 0; j < f; j++) out[x * f + j] = in[x];
    for (size_t i = 1; i < f; i++) memcpy(out + i * wide, out, wide * sizeof *out);
  }
}

static void sum_blocks(const real *dout, real *din, size_t h, size_t w, size_t f) {
  memset(din, 0, h * w * sizeof *din);
  for (size_t y = 0; y < h; y++, din += w)
    for (size_t i = 0; i < f; i++)
      for (size_t x = 0; x < w; x++)
        for (size_t j = 0; j < f; j++) din[x] += *dout++;
}

static void forward(const Layer *l, const Act *in, const Act *out, const real *cols,
                    real *scratch, int threads) {
  (void)cols, (void)scratch;
  size_t f = l->geometry.sh;
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(threads) if (threads > 1)
  for (size_t n = 0; n < in->n; n++)
    for (size_t c = 0; c < in->c; c++)
      enlarge(act_plane(in, n, c), act_plane(out, n, c), in->h, in->w, f);
}

static void backward(const Layer *l, const Act *in, const Act *out, const Act *dout,
                     const Act *din, const real *cols, real *scratch, int threads) {
  (void)out, (void)cols, (void)scratch;
  if (din == NULL) return;
  size_t f = l->geometry.sh;
#pragma omp parallel for collapse(2) schedule(static) \
    num_threads(threads) if (threads > 1)
  for (size_t n = 0; n < in->n; n++)
    for (size_t c = 0; c < in->c; c++)
      sum_blocks(act_plane(dout, n, c), act_plane(din, n, c), in->h, in->w, f);
}

static void describe(const Layer *l, char *text) {
  snprintf(text, LAYER_WHY, " %zux%zu", l->geometry.sh, l->geometry.sw);
}

const LayerOps layer_upsample = {.kind = "upsample",
                                 .shape = shape,
                                 .scratch = scratch_size,
                                 .forward = forward,
                                 .backward = backward,
                                 .describe = describe};

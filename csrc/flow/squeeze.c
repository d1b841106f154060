/* Squeeze: pixels to channels and back. */
#include "flow/squeeze.h"

#include <stdio.h>

#include "base/threads.h"

/* Every number of channel k of sample n of the squeezed tensor s, beside its place in the
 * other, t. */
#define FOR_EACH_PAIR(s, t, assign)                                          \
  for (size_t y = 0; y < (s)->h; y++) {                                      \
    real *a = act_plane(s, n, k) + y * (s)->w;                               \
    real *b = act_plane(t, n, k / 4) + (2 * y + k % 4 / 2) * (t)->w + k % 2; \
    for (size_t x = 0; x < (s)->w; x++) (assign);                            \
  }

static void squeeze(const Act *in, const Act *out, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < out->n; n++)
    for (size_t k = 0; k < out->c; k++) FOR_EACH_PAIR(out, in, a[x] = b[2 * x])
}

static void unsqueeze(const Act *in, const Act *out, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < in->n; n++)
    for (size_t k = 0; k < in->c; k++) FOR_EACH_PAIR(in, out, b[2 * x] = a[x])
}

static bool resize(const Flow *f, const Act *in, bool back, Act *out, char *why) {
  (void)f;
  if (back) {
    snprintf(why, FLOW_WHY, "a multiple of 4 channels expected, got %zu", in->c);
    *out = act_nchw(NULL, in->n, in->c / 4, 2 * in->h, 2 * in->w);
    return in->c % 4 == 0;
  }
  snprintf(why, FLOW_WHY, "even height and width expected, got %zux%zu", in->h, in->w);
  *out = act_nchw(NULL, in->n, 4 * in->c, in->h / 2, in->w / 2);
  return in->h % 2 == 0 && in->w % 2 == 0;
}

static void forward(Flow *f, const FlowRun *r) {
  (void)f;
  squeeze(&r->y, &r->z, r->threads);
  for (size_t n = 0; n < r->y.n; n++) r->logdet[n] = 0;
}

static size_t inverse(Flow *f, const FlowRun *r) {
  (void)f;
  unsqueeze(&r->z, &r->y, r->threads);
  return 0;
}

static void backward(Flow *f, const FlowRun *r) {
  (void)f;
  unsqueeze(&r->dz, &r->dy, r->threads);
}

const FlowOps flow_squeeze = {.kind = "Squeeze",
                              .resize = resize,
                              .forward = forward,
                              .inverse = inverse,
                              .backward = backward,
                              .stateless = true};

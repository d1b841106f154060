/* Scale: every channel times a factor of its own. */
#include "flow/scale.h"

#include <stdio.h>

#include "base/vmath.h"

static const Scale *self(const Flow *f) { return (const Scale *)f; }

/* Planes of `to` are those of `from` times e^s, or e^−s. */
static void multiply(const Flow *f, const Act *from, const Act *to, real sign) {
  for (size_t n = 0; n < from->n; n++)
    for (size_t c = 0; c < from->c; c++) {
      const real *a = act_plane(from, n, c);
      real *b = act_plane(to, n, c), e = v_exp(sign * self(f)->logs->value[c]);
      for (size_t i = 0; i < from->h * from->w; i++) b[i] = a[i] * e;
    }
}

static void forward(Flow *f, const FlowRun *r) {
  multiply(f, &r->y, &r->z, 1);
  for (size_t n = 0; n < r->y.n; n++) {
    r->logdet[n] = 0;
    for (size_t c = 0; c < f->channels; c++)
      r->logdet[n] += (double)self(f)->logs->value[c] * (double)(r->y.h * r->y.w);
  }
}

static size_t inverse(Flow *f, const FlowRun *r) {
  multiply(f, &r->z, &r->y, -1);
  return 0;
}

/* A row of gradients of s for each sample. */
static size_t scratch(const Flow *f, const FlowRun *r, FlowPass pass) {
  return pass == PASS_BACKWARD ? r->y.n * f->channels : 0;
}

static void backward(Flow *f, const FlowRun *r) {
  multiply(f, &r->dz, &r->dy, 1);
  for (size_t n = 0; n < r->z.n; n++)
    for (size_t c = 0; c < f->channels; c++) {
      const real *z = act_plane(&r->z, n, c), *dz = act_plane(&r->dz, n, c);
      double sum = (double)r->dlogdet[n] * (double)(r->z.h * r->z.w);
      for (size_t i = 0; i < r->z.h * r->z.w; i++) sum += (double)(z[i] * dz[i]);
      r->scratch[n * f->channels + c] = (real)sum;
    }
  param_add_rows(self(f)->logs, r->scratch, r->z.n);
}

static void describe(const Flow *f, char *text) {
  snprintf(text, FLOW_WHY, " of %zu channels", f->channels);
}

const FlowOps flow_scale = {.kind = "Scale",
                            .scratch = scratch,
                            .forward = forward,
                            .inverse = inverse,
                            .backward = backward,
                            .describe = describe};

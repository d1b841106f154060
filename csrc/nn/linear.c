/* Fully connected: out[n] = weight·in[n] + bias, on flattened samples.
 *
 * With few samples this is a stream of the weight through the core, so the
 * forward pass reads it once for all samples, and the weight's gradient is
 * left as the outer product that it is (optim/param.h).  It is fp32 whatever other
 * layers' products are: a number that is read once costs as much as it does to round it.
 */
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "math/blas.h"
#include "math/gemv.h"
#include "nn/layer.h"
#include "optim/deferred.h"

/* Outputs (forward) or inputs (backward) that one piece of work handles. */
#define LINEAR_CHUNK 512
/* Rows of the weight that make a step together and are read while in cache. */
#define STEP_ROWS ((size_t)4)

static bool shape(const Layer *l, const Shape *in, Shape *out, char *why) {
  if (shape_count(in) != l->in) {
    snprintf(why, 160, "linear wants %zu features, got %zu", l->in, shape_count(in));
    return false;
  }
  *out = (Shape){l->out, 1, 1, true};
  return true;
}

static size_t scratch_size(const Layer *l, const Act *in, const Act *out, int threads) {
  (void)l, (void)in, (void)out, (void)threads;
  return 0;
}

static inline ptrdiff_t chunks(size_t n) {
  return (ptrdiff_t)((n + LINEAR_CHUNK - 1) / LINEAR_CHUNK);
}

static inline size_t chunk_size(size_t n, size_t first) {
  return n - first < LINEAR_CHUNK ? n - first : LINEAR_CHUNK;
}

/* Outputs o .. o+m-1.  Where other layers round what they multiply, a sample's sums are
 * formed in one order however many samples there are, because later roundings would
 * magnify the difference. */
static void forward_rows(const Layer *l, const Act *in, const Act *out, size_t o,
                         size_t m) {
  const real *w = l->weight->value + o * l->in;
  if (in->n <= GEMV_ROWS || l->geometry.precision == PRECISION_BF16)
    gemv_transposed(in->data, w, in->n, m, l->in, out->data + o, l->out);
  else
    blas_gemm(NO_TRANS, TRANS, in->n, m, l->in, in->data, l->in, w, l->in, 0,
              out->data + o, l->out);
  for (size_t n = 0; n < in->n; n++)
    for (size_t j = 0; j < m; j++) out->data[n * l->out + o + j] += l->bias->value[o + j];
}

/* Outputs o .. o+m-1, of a weight whose step is due: a few rows are stepped, then read.
 */
static void step_and_forward(const Layer *l, const Act *in, const Act *out, size_t o,
                             size_t m) {
  Param *w = l->weight;
  size_t end = o + m, some = in->n <= GEMV_ROWS ? STEP_ROWS : m;
  for (size_t n; o < end; o += n) {
    n = end - o < some ? end - o : some;
    param_step_rows(w, o, n);
    forward_rows(l, in, out, o, n);
  }
}

static void forward(const Layer *l, const Act *in, const Act *out, const real *cols,
                    real *scratch, int threads) {
  (void)cols, (void)scratch;
  bool due = param_is_due(l->weight);
  blas_begin();
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (ptrdiff_t i = 0; i < chunks(l->out); i++) {
    size_t o = (size_t)i * LINEAR_CHUNK, m = chunk_size(l->out, o);
    if (due)
      step_and_forward(l, in, out, o, m);
    else
      forward_rows(l, in, out, o, m);
  }
  blas_end();
  param_step_made(l->weight);
}

static void weight_gradient(const Layer *l, const Act *in, const Act *dout) {
  Param *w = l->weight;
  if (w->pending_room >= in->n && w->pending == 0 && !w->exposed) {
    param_set_pending(w, in->n, dout->data, in->data);
    return;
  }
  real beta;
  real *dw = param_accumulate(w, &beta);
  blas_begin();
  blas_gemm(TRANS, NO_TRANS, l->out, l->in, in->n, dout->data, l->out, in->data, l->in,
            beta, dw, l->in);
  blas_end();
}

static void bias_gradient(const Layer *l, const Act *dout) {
  real beta;
  real *db = param_accumulate(l->bias, &beta);
  for (size_t o = 0; o < l->out; o++) {
    real s = beta == 0 ? 0 : db[o];
    for (size_t n = 0; n < dout->n; n++) s += dout->data[n * l->out + o];
    db[o] = s;
  }
}

static void backward(const Layer *l, const Act *in, const Act *out, const Act *dout,
                     const Act *din, const real *cols, real *scratch, int threads) {
  (void)out, (void)cols, (void)scratch;
  const real *weight = param_value(l->weight); /* a step since forward reads u, v too */
  weight_gradient(l, in, dout);
  bias_gradient(l, dout);
  if (din == NULL) return;
  blas_begin();
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (ptrdiff_t i = 0; i < chunks(l->in); i++) {
    size_t j = (size_t)i * LINEAR_CHUNK, m = chunk_size(l->in, j);
    const real *w = weight + j;
    if (in->n <= GEMV_ROWS)
      gemv(dout->data, w, in->n, l->out, m, l->in, din->data + j, l->in);
    else
      blas_gemm(NO_TRANS, NO_TRANS, in->n, m, l->out, dout->data, l->out, w, l->in, 0,
                din->data + j, l->in);
  }
  blas_end();
}

static void describe(const Layer *l, char *text) {
  snprintf(text, LAYER_WHY, " %zu -> %zu", l->in, l->out);
}

const LayerOps layer_linear = {.kind = "linear",
                               .shape = shape,
                               .scratch = scratch_size,
                               .forward = forward,
                               .backward = backward,
                               .wants_samples = true,
                               .reads_whole = true,
                               .outer = true,
                               .describe = describe};

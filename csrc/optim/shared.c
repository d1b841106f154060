/* Factors of gradients, packed for the way to other processes and unpacked again. */
#include "optim/shared.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "math/blas.h"

static size_t factors_of(const Param *p, size_t n) { return n * (p->rows + p->cols); }

size_t factors_layout(SharedFactors *slots, size_t count, size_t n) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++) {
    slots[i].place = total;
    total += factors_of(slots[i].param, n);
  }
  return total;
}

size_t factors_largest(const SharedFactors *slots, size_t count, size_t n) {
  size_t most = 0;
  for (size_t i = 0; i < count; i++) {
    size_t size = factors_of(slots[i].param, n);
    if (size > most) most = size;
  }
  return most;
}

static bool pack_one(const Param *p, size_t n, real scale, real *out) {
  if (p->dense || (p->pending != 0 && p->pending != n)) return false;
  if (p->pending == 0) {
    memset(out, 0, factors_of(p, n) * sizeof *out);
    return true;
  }
  for (size_t i = 0; i < n * p->rows; i++) out[i] = p->u[i] * scale;
  memcpy(out + n * p->rows, p->v, n * p->cols * sizeof *out);
  return true;
}

size_t factors_pack(const SharedFactors *slots, size_t count, size_t n, real scale,
                    real *out) {
  for (size_t i = 0; i < count; i++)
    if (!pack_one(slots[i].param, n, scale, out + slots[i].place)) return i;
  return count;
}

/* Join the factors of all processes: their rows of u, then of v. */
static void concatenate(const Param *p, const real *from, size_t n, size_t processes,
                        size_t apart, real *u, real *v) {
  for (size_t k = 0; k < processes; k++, from += apart) {
    memcpy(u + k * n * p->rows, from, n * p->rows * sizeof *u);
    memcpy(v + k * n * p->cols, from + n * p->rows, n * p->cols * sizeof *v);
  }
}

/* Rows of a matrix that one piece of work forms. */
#define FORM_ROWS ((size_t)16)

/* The matrix that these factors of n samples are of. */
static void form(Param *p, size_t n, const real *u, const real *v, int threads) {
  real beta, *grad = param_accumulate(p, &beta);
  size_t pieces = (p->rows + FORM_ROWS - 1) / FORM_ROWS;
  blas_begin();
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (size_t i = 0; i < pieces; i++) {
    size_t first = i * FORM_ROWS,
           m = p->rows - first < FORM_ROWS ? p->rows - first : FORM_ROWS;
    blas_gemm(TRANS, NO_TRANS, m, p->cols, n, u + first, p->rows, v, p->cols, 0,
              grad + first * p->cols, p->cols);
  }
  blas_end();
}

void factors_unpack(const SharedFactors *slots, size_t count, size_t n, size_t processes,
                    size_t apart, const real *all, real *scratch, int threads) {
  size_t samples = n * processes;
  for (size_t i = 0; i < count; i++) {
    Param *p = slots[i].param;
    bool keep = samples <= PARAM_MAX_PENDING;
    real *u = keep ? p->u : scratch, *v = keep ? p->v : scratch + samples * p->rows;
    p->dense = false;
    concatenate(p, all + slots[i].place, n, processes, apart, u, v);
    p->pending = keep ? samples : 0;
    if (!keep) form(p, samples, u, v, threads);
  }
}

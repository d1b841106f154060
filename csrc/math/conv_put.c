/* What becomes of a convolution's result as it is put down (math/conv_put.h). */
#include "math/conv_put.h"

#include <string.h>

#include "base/size.h"
#include "base/threads.h"

/* NaN stays. */
ALWAYS_INLINE real relu(real v) { return v > 0 || v != v ? v : 0; }

CLONES static void put_relu(const real *from, real *to, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) to[i] = relu(from[i]);
}

CLONES static void put_add_relu(const real *from, const real *other, real *to, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) to[i] = relu(from[i] + other[i]);
}

CLONES static void put_masked(const real *from, const real *other, real *to, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) to[i] = other[i] > 0 ? from[i] : 0;
}

CLONES static void put_add_masked(const real *from, const real *other, real *to,
                                  size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) to[i] += other[i] > 0 ? from[i] : 0;
}

void put_rows(PutHow how, const real *from, size_t from_step, size_t rows, size_t n,
              real *to, size_t to_step, real *other, size_t other_step) {
  for (; rows > 0; rows--, from += from_step, to += to_step, other += other_step) {
    if ((how == PUT_PLAIN || how == PUT_BESIDE) && to != from)
      memcpy(to, from, n * sizeof *to);
    if (how == PUT_BESIDE) put_relu(from, other, n);
    if (how == PUT_RELU) put_relu(from, to, n);
    if (how == PUT_ADD_RELU) put_add_relu(from, other, to, n);
    if (how == PUT_MASKED) put_masked(from, other, to, n);
    if (how == PUT_ADD_MASKED) put_add_masked(from, other, to, n);
  }
}

void put_pixel_rows(const Put *put, const Act *from, const Act *out, size_t c0,
                    size_t channels, size_t row0, size_t rows) {
  for (size_t some; rows > 0; rows -= some, row0 += some) {
    size_t n = row0 / out->h, y = row0 % out->h, at = y * out->w;
    some = min_size(rows, out->h - y);
    put_rows(put->how, act_plane(from, n, c0) + at, from->cs, channels, some * out->w,
             act_plane(out, n, c0) + at, out->cs, put_other(put, n, c0, at),
             put->other.cs);
  }
}

void put_all(const Put *put, const Act *from, const Act *out, int threads) {
  if (put->how == PUT_PLAIN) return;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t c = 0; c < out->c; c++)
    for (size_t n = 0; n < out->n; n++)
      put_pixel_rows(put, from, out, c, 1, n * out->h, out->h);
}

/* Transposes for one instruction set (math/isa/kernels.h). */
#ifndef CGLOW_MATH_ISA_TRANSPOSE_KERNELS_H
#define CGLOW_MATH_ISA_TRANSPOSE_KERNELS_H

#include "math/isa/transpose_square.h"

/* Transpose as many of the k columns as make whole squares, none in double, and return
 * their number. */
static size_t transpose_squares(const real *src, size_t ld, size_t k, size_t n,
                                real *panel) {
  size_t at = 0;
#ifdef CGLOW_DOUBLE
  (void)src, (void)ld, (void)k, (void)n, (void)panel;
#else
  for (; at + LANES <= k; at += LANES, src += LANES, panel += LANES * PANEL)
    for (size_t r = 0; r < PANEL; r += LANES)
      transpose_square(src + (r < n ? r : 0) * ld, ld, r < n ? n - r : 0, panel + r);
#endif
  return at;
}

void FOR_ISA(transpose)(TRANSPOSE_ARGS) {
  for (size_t i = transpose_squares(src, ld, k, n, panel); i < k; i++) {
    real *to = panel + i * PANEL;
    for (size_t r = 0; r < PANEL; r++) to[r] = r < n ? src[r * ld + i] : 0;
  }
}

#endif

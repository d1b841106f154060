/* The products of math/conv_winograd.h for one instruction set and precision. */
#ifndef CGLOW_MATH_ISA_CONV_WINOGRAD_PRODUCTS_H
#define CGLOW_MATH_ISA_CONV_WINOGRAD_PRODUCTS_H

#include "math/conv_winograd_kernels.h"
#include "math/isa/gemm_kernels.h"

#ifdef PAIRS
#include "math/isa/conv_winograd_patches.h"
#include "math/isa/pair_kernels.h"

void conv_filter_pairs_avx512_bf16(size_t count, Positions u) {
  for (size_t p = 0; p < WINOGRAD_POSITIONS; p++)
    for (size_t c = 0; c < count; c += 2) {
      real *row = u.p + p * u.step + c * PANEL;
      round_right(2, c + 1 < count ? 2 : 1, right_rows(row, PANEL), row);
    }
}

void FOR_ISA(conv_products)(POSITION_PRODUCTS_ARGS) {
  for (size_t p = 0; p < WINOGRAD_POSITIONS; p++)
    product(NARROW_ROWS, 2, squares, PANEL, channels, left_pairs(v.p + p * v.step, ld),
            (Right){u.p + p * u.step, 2 * PANEL, 0, 0, true}, NULL, m.p + p * m.step,
            PANEL);
}
#else
void FOR_ISA(conv_products)(POSITION_PRODUCTS_ARGS) {
  KERNEL_BEGINS;
  for (size_t p = 0; p < WINOGRAD_POSITIONS; p++)
    product(NARROW_ROWS, 2, squares, PANEL, channels, left_rows(v.p + p * v.step, ld),
            right_rows(u.p + p * u.step, PANEL), NULL, m.p + p * m.step, PANEL);
}
#endif

void FOR_ISA(conv_sums)(POSITION_SUMS_ARGS) {
  KERNEL_BEGINS;
  for (size_t p = 0; p < WINOGRAD_POSITIONS; p++) {
    real *to = u.p + p * u.step;
    product(NARROW_ROWS, 2, channels, PANEL, squares, left_columns(v.p + p * v.step, ld),
            right_rows(m.p + p * m.step, ldm), add ? to : NULL, to, PANEL);
  }
}

#endif

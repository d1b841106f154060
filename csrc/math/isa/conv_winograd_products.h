/* The products of math/conv_winograd.h for one instruction set and precision. */
#ifndef CGLOW_MATH_ISA_CONV_WINOGRAD_PRODUCTS_H
#define CGLOW_MATH_ISA_CONV_WINOGRAD_PRODUCTS_H

#include "math/conv_winograd_kernels.h"
#include "math/isa/gemm_kernels.h"

void FOR_ISA(conv_products)(POSITION_PRODUCTS_ARGS) {
  KERNEL_BEGINS;
  for (size_t p = 0; p < WINOGRAD_POSITIONS; p++)
    product(NARROW_ROWS, 2, squares, PANEL, channels, left_rows(v.p + p * v.step, ld),
            right_rows(u.p + p * u.step, PANEL), NULL, m.p + p * m.step, PANEL);
}

void FOR_ISA(conv_sums)(POSITION_SUMS_ARGS) {
  KERNEL_BEGINS;
  for (size_t p = 0; p < WINOGRAD_POSITIONS; p++) {
    real *to = u.p + p * u.step;
    product(NARROW_ROWS, 2, channels, PANEL, squares, left_columns(v.p + p * v.step, ld),
            right_rows(m.p + p * m.step, ldm), add ? to : NULL, to, PANEL);
  }
}

#endif

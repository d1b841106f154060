/* The transforms of math/conv_winograd.h for one instruction set. */
#ifndef CGLOW_MATH_ISA_CONV_WINOGRAD_KERNELS_H
#define CGLOW_MATH_ISA_CONV_WINOGRAD_KERNELS_H

#include "base/simd.h"
#include "math/conv_winograd_kernels.h"
#include "math/isa/conv_winograd_patches.h"

/*      1   0  −5/2   0   1  0               1    0    0
 *      0 −2r   −2    r   1  0             −2/3 −2/3r −1/3
 * Bᵀ = 0  2r   −2   −r   1  0        G =  −2/3  2/3r −1/3        r = 1/√2
 *      0  −r  −1/2  2r   1  0              1/6  1/3r  1/3
 *      0   r  −1/2 −2r   1  0              1/6 −1/3r  1/3
 *      0   1    0  −5/2  0  1               0    0    1
 *
 *      1  1    1    1    1   0
 * Aᵀ = 0  r   −r   2r  −2r   0
 *      0 1/2  1/2   2    2   0
 *      0 r/2 −r/2  4r  −4r   1
 *
 * Each of these functions applies one of them along one axis. */
ALWAYS_INLINE void square_axis(const Vector *m, Vector *y) {
  Vector s1 = m[1] + m[2], d1 = ROOT * (m[1] - m[2]);
  Vector s2 = m[3] + m[4], d2 = ROOT * (m[3] - m[4]);
  y[0] = m[0] + s1 + s2;
  y[1] = d1 + 2 * d2;
  y[2] = (real)0.5 * s1 + 2 * s2;
  y[3] = m[5] + (real)0.5 * d1 + 4 * d2;
}

ALWAYS_INLINE void filter_axis4(const Vector *g, Vector *u) {
  const real third = (real)1 / 3;
  Vector even = -third * (2 * g[0] + g[2]), odd = (-2 * third * ROOT) * g[1];
  u[0] = g[0];
  u[1] = even + odd;
  u[2] = even - odd;
  even = third * ((real)0.5 * g[0] + g[2]), odd = (third * ROOT) * g[1];
  u[3] = even + odd;
  u[4] = even - odd;
  u[5] = g[2];
}

ALWAYS_INLINE void filter_axis4_back(const Vector *u, Vector *g) {
  const real third = (real)1 / 3;
  Vector s1 = third * (u[1] + u[2]), d1 = (third * ROOT) * (u[1] - u[2]);
  Vector s2 = third * (u[3] + u[4]), d2 = (third * ROOT) * (u[3] - u[4]);
  g[0] = u[0] - 2 * s1 + (real)0.5 * s2;
  g[1] = d2 - 2 * d1;
  g[2] = u[5] - s1 + s2;
}

void FOR_ISA(conv_filter)(FILTER_ARGS) {
  for (size_t l = 0; l < PANEL; l += LANES) {
    Vector half[3][6]; /* [column][row of u] */
#pragma GCC unroll 3
    for (size_t j = 0; j < 3; j++) {
      Vector g[3];
#pragma GCC unroll 3
      for (size_t i = 0; i < 3; i++)
        g[i] = CONST_VECTOR_AT(rows + (turned ? 8 - 3 * i - j : 3 * i + j) * PANEL + l);
      filter_axis4(g, half[j]);
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < 6; i++) {
      Vector g[3] = {half[0][i], half[1][i], half[2][i]}, whole[6];
      filter_axis4(g, whole);
#pragma GCC unroll 6
      for (size_t j = 0; j < 6; j++) VECTOR_AT(u.p + (6 * i + j) * u.step + l) = whole[j];
    }
  }
}

void FOR_ISA(conv_filter_back)(FILTER_BACK_ARGS) {
  for (size_t l = 0; l < PANEL; l += LANES) {
    Vector half[6][3]; /* [column of u][row] */
#pragma GCC unroll 6
    for (size_t j = 0; j < 6; j++) {
      Vector column[6];
#pragma GCC unroll 6
      for (size_t i = 0; i < 6; i++)
        column[i] = CONST_VECTOR_AT(u.p + (6 * i + j) * u.step + l);
      filter_axis4_back(column, half[j]);
    }
#pragma GCC unroll 3
    for (size_t i = 0; i < 3; i++) {
      Vector row[6], g[3];
#pragma GCC unroll 6
      for (size_t j = 0; j < 6; j++) row[j] = half[j][i];
      filter_axis4_back(row, g);
#pragma GCC unroll 3
      for (size_t j = 0; j < 3; j++) VECTOR_AT(rows + (3 * i + j) * PANEL + l) = g[j];
    }
  }
}

void FOR_ISA(conv_spread)(SPREAD_ARGS) {
  square_row(4, 0, row, w, squares, v, next, sums);
}

void FOR_ISA(conv_squares)(SQUARES_ARGS) {
  for (size_t l = 0; l < PANEL; l += LANES) {
    const Vector b = CONST_VECTOR_AT(bias + l);
    for (size_t s = 0; s < squares; s++) {
      const real *from = m.p + s * PANEL + l;
      size_t columns = w - 4 * s;
      Vector half[6][4]; /* [column][row] */
#pragma GCC unroll 6
      for (size_t j = 0; j < 6; j++) {
        Vector column[6];
#pragma GCC unroll 6
        for (size_t i = 0; i < 6; i++)
          column[i] = CONST_VECTOR_AT(from + (6 * i + j) * m.step);
        square_axis(column, half[j]);
      }
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; i++) {
        Vector line[6], y[4];
        real *to = pixels + (i * w + 4 * s) * PANEL + l;
        if (i >= rows) continue;
#pragma GCC unroll 6
        for (size_t j = 0; j < 6; j++) line[j] = half[j][i];
        square_axis(line, y);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++)
          if (j < columns) VECTOR_AT(to + j * PANEL) = y[j] + b;
      }
    }
  }
}

#endif

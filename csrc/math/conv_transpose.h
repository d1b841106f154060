/* The transpose of any convolution: what its input's gradient is of its output's. */
#ifndef CGLOW_MATH_CONV_TRANSPOSE_H
#define CGLOW_MATH_CONV_TRANSPOSE_H

#include "base/act.h"
#include "math/conv_geometry.h"

/* Reals of scratch for conv_transpose. */
size_t conv_transpose_scratch(const ConvGeometry *g, const Act *in, const Act *out,
                              int threads);

/* The same, piece by piece, for threads that have something else to do besides. */
typedef struct Transpose {
  const real *weight;
  const ConvGeometry *g;
  const Act *dout, *din;
  real *scratch;
  size_t some, blocks; /* channels of a piece; pieces of all channels */
  size_t rows, cuts;   /* rows of a piece; pieces of all rows */
  size_t pieces;
} Transpose;

Transpose conv_transpose_plan(const real *weight, const ConvGeometry *g, const Act *dout,
                              const Act *din, real *scratch, int threads);
void conv_transpose_piece(const Transpose *t, size_t i);

/* din from dout; weight: [dout's channels][din's][kernel]. */
void conv_transpose(const real *weight, const ConvGeometry *g, const Act *dout,
                    const Act *din, real *scratch, int threads);

#endif

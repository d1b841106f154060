/* Memory of a coupling's backward pass (flow/coupling/backward.c). */
#ifndef CGLOW_FLOW_COUPLING_BACKWARD_SCRATCH_H
#define CGLOW_FLOW_COUPLING_BACKWARD_SCRATCH_H

#include "flow/coupling/conv3x3.h"

/* Panels are numbered from the first of the wave on where they lie in it. */
typedef struct BackwardScratch {
  CouplingConv conv1, conv3;
  real *scale1, *scale2;
  real *turned2; /* conv2's weight, its transpose in panels; not for one tile */
  real *pairs2;  /* instead, its transpose in pairs; da2 is then, too.  Else NULL */
  real *dv;      /* [n, out, h, w] */
  real *planes;  /* dh's planes, tiled */
  real *sums;    /* for each tile: dbias1, dlogs1, dbias2, dlogs2 */
  real *dv_cols, *h_cols; /* the wave: columns of dv and of h, panels */
  real *da1, *da2;        /* the wave: gradients of conv1's, conv2's output, panels */
  real *largest2;         /* in each piece of conv2's gradient */
  real *threads;
  size_t wave;                       /* tiles */
  size_t row_parts;                  /* of conv2's gradient */
  size_t panel, cols, thread_stride; /* of a thread: a panel, a tile's columns, and what
                                      * becomes da2 in pairs */
  size_t total;
} BackwardScratch;

/* Laid out from base on; NULL: only to know `total`. */
BackwardScratch coupling_backward_room(const Coupling *c, const CouplingPlan *p,
                                       real *base, int threads);

/* Pieces of conv2's gradient: 32 columns by one of row_parts. */
static inline size_t conv2_pieces(const Coupling *c, const BackwardScratch *s) {
  return s->row_parts * coupling_blocks(c);
}

#endif

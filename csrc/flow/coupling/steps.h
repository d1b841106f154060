/* What the network of a coupling reads of y1 where its products are rounded, so that
 * encoding and decoding read the same bits.
 *
 * A network of rounded factors is a staircase: a change of one bit in its input may carry
 * a factor over an edge.  Decoding knows z1 = y1 but for the rounding errors of the
 * inverses before it.  So the network reads c, y1 rounded to whole steps of 2⁻¹⁰, and
 *
 *   z1 = y1 − (y1 − c)/32
 *
 * lies inside of the step of c, 2⁻¹⁶ from its edges or more.  Errors below that do not
 * lead out of it: the network reads c once more, all that follows is the same bits, and
 * y1 comes back as from an affine map.  (States of flows are about 1 large, and what fp32
 * does to them on the way back is some 10⁻⁶.)
 *
 * This belongs to the rounding of the state, not to the flow, and has no log-det: log p
 * is that of a state less than 2⁻¹⁶ away, toward the middle of its step and so upward as
 * often as downward.  What is sampled between the steps comes back as the edge of the
 * nearest. */
#ifndef CGLOW_FLOW_COUPLING_STEPS_H
#define CGLOW_FLOW_COUPLING_STEPS_H

#include "base/act.h"

/* c of y1, or of z1. */
void steps_of(const Act *y1, const Act *c, int threads);
void steps_forward(const Act *y1, const Act *c, const Act *z1, int threads);
void steps_inverse(const Act *z1, const Act *c, const Act *y1, int threads);

#endif

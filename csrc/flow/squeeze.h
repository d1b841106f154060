/* Squeeze (RealNVP: Dinh, Sohl-Dickstein, Bengio 2017, section 3.6): C×H×W to
 * 4C×H/2×W/2, the pixel at row offset i, column offset j of input channel c becoming
 * output channel 4c + 2i + j.  Its log-determinant is 0. */
#ifndef CGLOW_FLOW_SQUEEZE_H
#define CGLOW_FLOW_SQUEEZE_H

#include "flow/flow.h"

extern const FlowOps flow_squeeze;

#endif

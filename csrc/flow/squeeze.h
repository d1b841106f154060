/* Squeeze (design: squeeze; RealNVP section 3.6): C×H×W to 4C×H/2×W/2, the
 * pixel at row offset i, column offset j of input channel c becoming output
 * channel 4c + 2i + j. */
#ifndef CGLOW_FLOW_SQUEEZE_H
#define CGLOW_FLOW_SQUEEZE_H

#include "base/act.h"

void squeeze(const Act *in, const Act *out);
void unsqueeze(const Act *in, const Act *out);

#endif

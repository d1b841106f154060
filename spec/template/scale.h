/* Scale: z = y·exp(s_c);  log-det = H·W·Σ s_c.  The template of a flow layer. */
#ifndef CGLOW_FLOW_SCALE_H
#define CGLOW_FLOW_SCALE_H

#include "flow/flow.h"

typedef struct Scale {
  Flow flow;
  Param *logs; /* s, one number for each channel */
} Scale;

extern const FlowOps flow_scale;

#endif

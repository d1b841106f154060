/* The coupling (flow/coupling/coupling.h) as a flow layer. */
#ifndef CGLOW_FLOW_COUPLING_LAYER_H
#define CGLOW_FLOW_COUPLING_LAYER_H

#include "flow/coupling/plan.h"

extern const FlowOps flow_coupling;

#endif

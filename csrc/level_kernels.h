/* All kernels of a level.  The file that includes this says which level, how wide its
 * vectors are, and how many rows of two vectors its registers hold as sums: of a plain
 * product, and of winograd.h's. */
#include "gemm_kernels.h"
#include "peak_kernels.h"
#include "winograd_kernels.h"

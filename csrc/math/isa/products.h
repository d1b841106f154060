/* All kernels that form products, for one instruction set and precision. */
#include "math/isa/conv_winograd_products.h"
#include "math/isa/gemm_kernels.h"
#include "math/isa/winograd_kernels.h"

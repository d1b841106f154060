/* All kernels of an instruction set.  The file that includes this says which, how wide
 * its vectors are, and how many rows of two vectors its registers hold as sums: of a
 * plain product, and of math/winograd.h's. */
#include "math/isa/conv_winograd_kernels.h"
#include "math/isa/peak_kernels.h"
#include "math/isa/products.h"
#include "math/isa/transpose_kernels.h"

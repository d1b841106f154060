/* Products of rounded operands for x86-64-v3: 16 registers of 32 bytes. */
#include "base/isa.h"

#if HAVE_BF16 && HAVE_CLONES
#pragma GCC target("arch=x86-64-v3")
#define FOR_ISA(name) name##_avx2_rounded
#define VECTOR_BYTES 32
#define PRODUCT_ROWS 6
#define NARROW_ROWS 6
#define WIDEN_ROWS 4
#define ROUNDED
#include "math/isa/products.h"
#endif

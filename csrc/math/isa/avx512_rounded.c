/* Products of rounded operands for x86-64-v4: 32 registers of 64 bytes. */
#include "base/isa.h"

#if HAVE_BF16 && HAVE_CLONES
#pragma GCC target("arch=x86-64-v4")
#define FOR_ISA(name) name##_avx512_rounded
#define VECTOR_BYTES 64
#define PRODUCT_ROWS 8
#define NARROW_ROWS 12
#define WIDEN_ROWS 8
#define ROUNDED
#include "math/isa/products.h"
#endif

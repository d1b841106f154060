/* Products of rounded operands for any processor, with as many registers of 16 bytes as
 * x86-64 has at least, and ARM has twice. */
#include "base/isa.h"

#if HAVE_BF16
#define FOR_ISA(name) name##_generic_rounded
#define VECTOR_BYTES 16
#ifdef __aarch64__
#define PRODUCT_ROWS 8
#define NARROW_ROWS 12
#define WIDEN_ROWS 8
#else
#define PRODUCT_ROWS 4
#define NARROW_ROWS 4
#define WIDEN_ROWS 4
#endif
#define ROUNDED
#include "math/isa/products.h"
#endif

/* Products of bfloat16 for x86-64-v4 with AVX512_BF16: 32 registers of 64 bytes.
 *
 * vdpbf16ps adds two products to each number of a register, the one of the upper halves
 * first, each rounded as by an FMA.  So a pair has the earlier factor in its upper half,
 * and sums are those of the other kernels to the bit: but for numbers below 2^-126, which
 * the instruction takes for 0 and makes 0. */
#include "base/isa.h"

#if HAVE_AVX512_BF16
#pragma GCC target("arch=x86-64-v4,avx512bf16")
#include <immintrin.h>
#define FOR_ISA(name) name##_avx512_bf16
#define VECTOR_BYTES 64
#define PRODUCT_ROWS 8
#define NARROW_ROWS 12
#define WIDEN_ROWS 8
#define ROUNDED
#define FACTORS 2
#define PAIRS
#define MULTIPLY_ADD(sum, factor, part)                                              \
  ((sum) = (Vector)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)_mm512_set1_ps(factor), \
                                    (__m512bh)(part)))
#include "math/isa/pair_kernels.h"
#include "math/isa/products.h"
#endif

/* Vectors, by the compiler's vector extension, for kernels that compilers fail to
 * vectorise from plain loops.
 *
 * GCC keeps one that is wider than a register in memory, not in several registers, and
 * a product then runs at a tenth of its speed.  So vectors are as wide as registers are
 * on most processors or, in a file that is compiled for one instruction set (base/isa.h),
 * there. */
#ifndef CGLOW_BASE_SIMD_H
#define CGLOW_BASE_SIMD_H

#include "base/real.h"

#ifndef VECTOR_BYTES
#ifdef __x86_64__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif

typedef real Vector __attribute__((vector_size(VECTOR_BYTES)));
/* A vector at any address of a real. */
typedef real Unaligned
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#ifdef CGLOW_DOUBLE
typedef int64_t Mask __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t Mask __attribute__((vector_size(VECTOR_BYTES)));
#endif

#define LANES (VECTOR_BYTES / sizeof(real))

/* Macros, because a function may not return what its processor lacks. */
#define VECTOR_AT(p) (*(Unaligned *)(p))
#define CONST_VECTOR_AT(p) (*(const Unaligned *)(p))
/* Lanes of x and y in a new order; those of y are numbered after x's. */
#ifdef __clang__
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (Mask){__VA_ARGS__})
#endif
/* Lanes of v where the mask, a comparison's result, is set, else 0. */
#define VECTOR_WHERE(mask, v) ((Vector)((Mask)(v) & (mask)))

#endif

/* Instruction sets: AVX-512 (x86-64-v4), with or without AVX512_BF16 and AMX, AVX2
 * (x86-64-v3), or any processor's.
 *
 * Kernels that keep sums in registers depend on how wide and how many these are.  They
 * are compiled once for each set, in math/isa/avx512.c, avx2.c and generic.c, as
 * name_avx512, name_avx2 and name_generic, and chosen when they are called.  (Loops that
 * the compiler vectorises itself are only marked: CLONES in base/real.h.)
 *
 * Products of networks may have their operands rounded to bfloat16 (math/gemm.h).  Their
 * kernels are compiled for each set a second time, as name_avx512_rounded and so on,
 * which round and go on in float, and a third time for AVX512_BF16, which multiplies two
 * such numbers at a time; the same numbers come of either.  AMX, for which they are
 * compiled once more, multiplies tiles of the same numbers and adds them up in an order
 * of its own. */
#ifndef CGLOW_BASE_ISA_H
#define CGLOW_BASE_ISA_H

#include "base/real.h"

typedef enum { ISA_GENERIC, ISA_AVX2, ISA_AVX512, ISA_BF16, ISA_AMX } Isa;

/* What becomes of a product's operands. */
typedef enum {
  PRECISION_FP32, /* they are taken as they are */
  PRECISION_BF16  /* rounded to bfloat16, to nearest even */
} Precision;

/* The one that kernels use; without bfloat16, that is at most ISA_AVX512. */
Isa isa_in_use(void);
/* The one that products of bfloat16 use: any. */
Isa isa_of_bf16(void);
/* The instruction set that kernels use, in words: "AVX-512", "AVX2" or "any". */
const char *isa_name(void);
/* Use none above this one, in words; false if there is none of that name. */
bool isa_limit(const char *most);

/* In double there is nothing to be gained, and no gradient of a rounding to be proved. */
#ifdef CGLOW_DOUBLE
#define HAVE_BF16 0
#else
#define HAVE_BF16 1
#endif
/* Can the compiler make code for AVX512_BF16? */
#if HAVE_BF16 && HAVE_CLONES && __GNUC__ >= 10
#define HAVE_AVX512_BF16 1
#else
#define HAVE_AVX512_BF16 0
#endif
/* And for AMX? */
#if HAVE_AVX512_BF16 && __GNUC__ >= 11
#define HAVE_AMX 1
#else
#define HAVE_AMX 0
#endif

#if HAVE_CLONES
/* Declare a kernel. */
#define ISA_KERNEL(type, name, args) \
  type name##_avx512 args, name##_avx2 args, name##_generic args
/* The one to call. */
#define BY_ISA(name)                          \
  (isa_in_use() == ISA_AVX512 ? name##_avx512 \
   : isa_in_use() == ISA_AVX2 ? name##_avx2   \
                              : name##_generic)
#else
#define ISA_KERNEL(type, name, args) type name##_generic args
#define BY_ISA(name) name##_generic
#endif

/* ISA_KERNEL and BY_ISA for kernels that form products, which exist once for each
 * precision. */
#if !HAVE_BF16
#define PRODUCT_KERNEL(type, name, args) ISA_KERNEL(type, name, args)
#define BY_PRECISION(how, name) ((void)(how), BY_ISA(name))
#elif HAVE_CLONES
#define PRODUCT_KERNEL(type, name, args)                                              \
  ISA_KERNEL(type, name, args), name##_avx512_rounded args, name##_avx2_rounded args, \
      name##_generic_rounded args, name##_avx512_bf16 args, name##_amx args
#if HAVE_AMX
#define AMX_OR(name, other) (isa_of_bf16() == ISA_AMX ? name##_amx : other)
#else
#define AMX_OR(name, other) other
#endif
#if HAVE_AVX512_BF16
#define BF16_OR(name, other) \
  AMX_OR(name, isa_of_bf16() == ISA_BF16 ? name##_avx512_bf16 : other)
#else
#define BF16_OR(name, other) other
#endif
#define BY_PRECISION(how, name)                                           \
  ((how) == PRECISION_FP32                                                \
       ? BY_ISA(name)                                                     \
       : BF16_OR(name, isa_in_use() == ISA_AVX512 ? name##_avx512_rounded \
                       : isa_in_use() == ISA_AVX2 ? name##_avx2_rounded   \
                                                  : name##_generic_rounded))
#else
#define PRODUCT_KERNEL(type, name, args) \
  type name##_generic args, name##_generic_rounded args
#define BY_PRECISION(how, name) \
  ((how) == PRECISION_FP32 ? name##_generic : name##_generic_rounded)
#endif

#endif

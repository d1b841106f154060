/* Instruction sets: AVX-512 (x86-64-v4), AVX2 (x86-64-v3), or any processor's.
 *
 * Kernels that keep sums in registers depend on how wide and how many these are.  They
 * are compiled once for each set, in math/isa/avx512.c, avx2.c and generic.c, as
 * name_avx512, name_avx2 and name_generic, and chosen when they are called.  (Loops that
 * the compiler vectorises itself are only marked: CLONES in base/real.h.) */
#ifndef CGLOW_BASE_ISA_H
#define CGLOW_BASE_ISA_H

#include "base/real.h"

typedef enum { ISA_GENERIC, ISA_AVX2, ISA_AVX512 } Isa;

/* The one that kernels use. */
Isa isa_in_use(void);
/* In words: "AVX-512", "AVX2" or "any". */
const char *isa_name(void);
/* Use none above this one, in words; false if there is none of that name. */
bool isa_limit(const char *most);

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

#endif

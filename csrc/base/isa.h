/* Levels of instructions: x86-64-v4 (AVX-512), x86-64-v3 (AVX2), or any processor's.
 *
 * Kernels that keep sums in registers depend on how wide and how many these are.  They
 * are compiled once for each level, in math/isa/avx512.c, math/isa/avx2.c and math/isa/generic.c, as
 * name_v4, name_v3 and name_any, and chosen when they are called.  (Loops that the
 * compiler vectorises itself are only marked: CLONES in base/real.h.) */
#ifndef CGLOW_BASE_ISA_H
#define CGLOW_BASE_ISA_H

#include "base/real.h"

/* The level that kernels use: 4, 3 or, for any processor, 1. */
int level_in_use(void);
/* In words: "AVX-512", "AVX2" or "any". */
const char *level_name(void);
/* Use no level above this one, in words; false if there is none of that name. */
bool level_limit(const char *most);

#if HAVE_CLONES
/* Declare a kernel. */
#define LEVELS(type, name, args) type name##_v4 args, name##_v3 args, name##_any args
/* The one to call. */
#define BY_LEVEL(name) \
  (level_in_use() == 4 ? name##_v4 : level_in_use() == 3 ? name##_v3 : name##_any)
#else
#define LEVELS(type, name, args) type name##_any args
#define BY_LEVEL(name) name##_any
#endif

#endif

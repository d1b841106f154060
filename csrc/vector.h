/* Vectors of the widest register's size, by the compiler's vector extension:
 * narrower processors split them.  For kernels that compilers fail to
 * vectorise from plain loops. */
#ifndef CGLOW_VECTOR_H
#define CGLOW_VECTOR_H

#include "real.h"

typedef real Vector __attribute__((vector_size(64)));
/* The same at any address of a real. */
typedef real Unaligned __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));

#ifdef CGLOW_DOUBLE
#define LANES ((size_t)8)
typedef int64_t Mask __attribute__((vector_size(64)));
#else
#define LANES ((size_t)16)
typedef int32_t Mask __attribute__((vector_size(64)));
#endif

/* Macros, because a function may not return what its processor lacks. */
#define VECTOR_AT(p) (*(Unaligned *)(p))
#define CONST_VECTOR_AT(p) (*(const Unaligned *)(p))
/* Lanes of v where the mask, a comparison's result, is set, else 0. */
#define VECTOR_WHERE(mask, v) ((Vector)((Mask)(v) & (mask)))

#endif

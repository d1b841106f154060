/* The one scalar type of the library: float in the product, double in the
 * build that specs use to prove gradients (make double). */
#ifndef CGLOW_BASE_REAL_H
#define CGLOW_BASE_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef CGLOW_DOUBLE
typedef double real;
#define REAL_NAME "double"
#define REAL_EPS 2.220446049250313e-16
#else
typedef float real;
#define REAL_NAME "float"
#define REAL_EPS 1.1920929e-07f
#endif

/* Elementwise kernels are compiled once per instruction set and picked when
 * the library is loaded, so one binary runs on any x86-64 and still uses
 * AVX-512.  The attribute goes on serial range functions only: GCC does not
 * carry it into the functions that it outlines for OpenMP. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && \
    !defined(__clang__) && !defined(CGLOW_NO_CLONES)
#define HAVE_CLONES 1
#define CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define HAVE_CLONES 0
#define CLONES
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#endif

/* Sizes: products and sums that tell of overflow, and where buffers begin. */
#ifndef CGLOW_BASE_SIZE_H
#define CGLOW_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>

/* false when a*b overflows size_t; otherwise *out = a*b. */
static inline bool checked_mul(size_t a, size_t b, size_t *out) {
  return !__builtin_mul_overflow(a, b, out);
}
static inline bool checked_add(size_t a, size_t b, size_t *out) {
  return !__builtin_add_overflow(a, b, out);
}

static inline size_t max_size(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* Reals up to the next multiple of 64 bytes (128 in double): where one buffer follows
 * another in the same block, both are aligned. */
static inline size_t round_up(size_t n) { return (n + 15) & ~(size_t)15; }

#endif

/* The nine numbers of each of many 3×3 filters, with filters as rows or, for
 * kernels, as columns. */
#ifndef CGLOW_MATH_FILTERS3X3_H
#define CGLOW_MATH_FILTERS3X3_H

#include "math/gemm.h"

#define FILTER_SIZE ((size_t)9)
/* Numbers that filters_gather writes, of which the first 9 rows count. */
#define FILTERS_ROOM (16 * PANEL)

/* Let the cache fetch `count` filters that lie `distance` apart. */
static inline void filters_prefetch(const real *g, size_t distance, size_t count) {
  for (size_t k = 0; k < count; k++) __builtin_prefetch(g + k * distance);
}

/* rows[9][PANEL] from `count` ≤ PANEL filters that lie `distance` apart. */
void filters_gather(const real *g, size_t distance, size_t count, real *rows);
/* From rows to filters: g = beta·g + rows. */
void filters_scatter(const real *rows, size_t count, real beta, real *g, size_t distance);

/* Where their gradient goes: dw[out][in][9] = beta·dw + …; db = bias_beta·db + … (NULL:
 * not wanted). */
typedef struct FiltersTarget {
  real *dw, *db, beta, bias_beta;
} FiltersTarget;

#endif

/* 3×3 filters gathered into rows, and back. */
#include "math/filters3x3.h"

#include <string.h>

/* 16 numbers of each filter are read, but for the last, behind which there may be
 * nothing. */
void filters_gather(const real *g, size_t distance, size_t count, real *rows) {
  const real *last = g + (count - 1) * distance;
  panel_transpose(g, distance, 16, count - 1, rows);
  for (size_t i = 0; i < FILTER_SIZE; i++) rows[i * PANEL + count - 1] = last[i];
}

void filters_scatter(const real *rows, size_t count, real beta, real *g,
                     size_t distance) {
  real turned[PANEL * PANEL];
  panel_transpose(rows, PANEL, PANEL, FILTER_SIZE, turned);
  for (size_t k = 0; k < count; k++, g += distance) {
    const real *from = turned + k * PANEL;
    if (beta == 0)
      memcpy(g, from, FILTER_SIZE * sizeof *g);
    else
      for (size_t i = 0; i < FILTER_SIZE; i++) g[i] += from[i];
  }
}

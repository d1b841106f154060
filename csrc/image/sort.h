/* Order a few numbers: an insertion sort, quickest for the dozens that a window or a
 * stack of frames holds. */
#ifndef CGLOW_IMAGE_SORT_H
#define CGLOW_IMAGE_SORT_H

#include "base/real.h"

static inline void sort_few(real *v, size_t n) {
  for (size_t i = 1; i < n; i++) {
    real x = v[i];
    size_t j = i;
    for (; j > 0 && v[j - 1] > x; j--) v[j] = v[j - 1];
    v[j] = x;
  }
}

#endif

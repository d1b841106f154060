#include "flow/squeeze.h"

/* Every number of the squeezed tensor s, beside its place in the other, t. */
#define FOR_EACH_PAIR(s, t, assign)                                              \
  for (size_t n = 0; n < (s)->n; n++)                                            \
    for (size_t k = 0; k < (s)->c; k++)                                          \
      for (size_t y = 0; y < (s)->h; y++) {                                      \
        real *a = act_plane(s, n, k) + y * (s)->w;                               \
        real *b = act_plane(t, n, k / 4) + (2 * y + k % 4 / 2) * (t)->w + k % 2; \
        for (size_t x = 0; x < (s)->w; x++) (assign);                            \
      }

void squeeze(const Act *in, const Act *out) { FOR_EACH_PAIR(out, in, a[x] = b[2 * x]) }

void unsqueeze(const Act *in, const Act *out) { FOR_EACH_PAIR(in, out, b[2 * x] = a[x]) }

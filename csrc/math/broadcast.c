/* Number by number between arrays of different shapes. */
#include "math/broadcast.h"

bool broadcast_shape(const size_t a[4], const size_t b[4], size_t out[4]) {
  bool fit = true;
  for (int i = 0; i < 4; i++) {
    fit = fit && (a[i] == b[i] || a[i] == 1 || b[i] == 1);
    out[i] = a[i] > b[i] ? a[i] : b[i];
  }
  return fit;
}

/* Dimensions from the last one on, without those of one index, and with neighbours made
 * one where both operands allow: so rows are as long as can be.  A distance of 0: the
 * operand has one number for all indices. */
typedef struct Walk {
  int n;
  size_t size[4], a[4], b[4];
} Walk;

static Walk walk_of(const size_t adim[4], const size_t bdim[4]) {
  Walk w = {0, {1, 1, 1, 1}, {0}, {0}};
  size_t astep = 1, bstep = 1;
  for (int i = 3; i >= 0; i--) {
    size_t a = adim[i] > 1 ? astep : 0, b = bdim[i] > 1 ? bstep : 0;
    size_t size = adim[i] > 1 ? adim[i] : bdim[i];
    astep *= adim[i];
    bstep *= bdim[i];
    if (size == 1) continue;
    int last = w.n - 1;
    if (last >= 0 && a == w.a[last] * w.size[last] && b == w.b[last] * w.size[last]) {
      w.size[last] *= size;
      continue;
    }
    w.size[w.n] = size;
    w.a[w.n] = a;
    w.b[w.n++] = b;
  }
  return w;
}

static void row(const Binary *op, real *out, const real *a, size_t astep, const real *b,
                size_t bstep, size_t n) {
  if (astep == 0)
    op->number_tensor(out, *a, b, n);
  else if (bstep == 0)
    op->tensor_number(out, a, *b, n);
  else
    op->tensor_tensor(out, a, b, n);
}

void broadcast(const Binary *op, real *out, const real *a, const size_t adim[4],
               const real *b, const size_t bdim[4]) {
  Walk w = walk_of(adim, bdim);
  for (size_t i = 0; i < w.size[3]; i++)
    for (size_t j = 0; j < w.size[2]; j++)
      for (size_t k = 0; k < w.size[1]; k++, out += w.size[0])
        row(op, out, a + i * w.a[3] + j * w.a[2] + k * w.a[1], w.a[0],
            b + i * w.b[3] + j * w.b[2] + k * w.b[1], w.b[0], w.size[0]);
}

size_t broadcast_offset(const size_t dim[4], const size_t all[4], size_t i,
                        size_t inner) {
  size_t first = dim[0] > 1 ? i / all[1] : 0, second = dim[1] > 1 ? i % all[1] : 0;
  return (first * dim[1] + second) * inner;
}

/* Sums over ranks, a block of numbers at a time. */
#include "mpi/add.h"

#include <string.h>

size_t share_room(size_t count, int ranks) {
  size_t each = (count + (size_t)ranks - 1) / (size_t)ranks;
  return (each + 15) & ~(size_t)15;
}

Share share_of(size_t count, int rank, int ranks) {
  size_t room = share_room(count, ranks), first = room * (size_t)rank;
  if (first >= count) return (Share){count, 0};
  return (Share){first, count - first < room ? count - first : room};
}

#define SUM_BLOCK ((size_t)1024)

CLONES static void add_block(real *restrict sum, const real *restrict more, size_t n) {
  for (size_t i = 0; i < n; i++) sum[i] += more[i];
}

CLONES static void scale_block(real *restrict out, const real *restrict sum, size_t n,
                               real scale) {
  for (size_t i = 0; i < n; i++) out[i] = sum[i] * scale;
}

void add_ranks(real *out, size_t n, real scale, int ranks, NumbersOf *of,
               const void *context) {
  real sum[SUM_BLOCK];
  for (size_t at = 0, some; at < n; at += some) {
    some = n - at < SUM_BLOCK ? n - at : SUM_BLOCK;
    memcpy(sum, of(context, 0) + at, some * sizeof *sum);
    for (int rank = 1; rank < ranks; rank++) add_block(sum, of(context, rank) + at, some);
    scale_block(out + at, sum, some, scale);
  }
}

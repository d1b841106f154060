/* Sums over ranks, each number in the order of ranks: all get the same bits. */
#ifndef CGLOW_MPI_ADD_H
#define CGLOW_MPI_ADD_H

#include <stddef.h>

#include "base/real.h"

/* Numbers first .. first+n-1. */
typedef struct Share {
  size_t first, n;
} Share;

/* The most of `count` numbers that fall to one of so many ranks: whole cache lines, so
 * that no two ranks' shares have one in common. */
size_t share_room(size_t count, int ranks);
Share share_of(size_t count, int rank, int ranks);

/* Where a rank's numbers lie. */
typedef const real *NumbersOf(const void *context, int rank);

/* out[i] = scale · the sum of all ranks' numbers i, which out may be among. */
void add_ranks(real *out, size_t n, real scale, int ranks, NumbersOf *of,
               const void *context);

#endif

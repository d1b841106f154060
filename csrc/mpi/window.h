/* Memory that the ranks of one machine share: messages between them would be copied twice
 * by the very processors that compute, and here one rank reads what another has written.
 *
 * It is memory without a name, which the first rank makes and the others find among its
 * open files: nothing is left of it when processes are killed, and no file system's size
 * limits it, as that of /dev/shm may.  MPI's own shared windows end with MPI, but numbers
 * are looked at after that. */
#ifndef CGLOW_MPI_WINDOW_H
#define CGLOW_MPI_WINDOW_H

#include "mpi/add.h"
#include "mpi/world.h"

typedef struct Window {
  real *numbers; /* of each rank `each`, the machine's first rank's first; or NULL */
  size_t each, bytes;
} Window;

#define WINDOW_WHY 160

/* Make one of zeros; on all ranks of the machine together.  Where it cannot be had,
 * numbers are NULL on all of them, and why says what stood in the way of this one, or "".
 */
int window_open(Window *w, size_t each, char why[WINDOW_WHY]);
/* Give it back; who still looks at its numbers sees zeros. */
void window_close(Window *w);

/* A rank's numbers. */
static inline real *window_of(const Window *w, int host_rank) {
  return w->numbers + (size_t)host_rank * w->each;
}

/* Replace the numbers of all ranks by their sum times scale; together. */
int window_sum(const Window *w, real scale);

#endif

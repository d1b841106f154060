/* The processes that train together: MPI's start and end, its errors, and the blocking
 * calls.  Nothing here knows of Lua.
 *
 * Functions that return int return an MPI error code; world_call says which call gave it.
 */
#ifndef CGLOW_MPI_WORLD_H
#define CGLOW_MPI_WORLD_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

#ifdef CGLOW_DOUBLE
#define MPI_REAL_TYPE MPI_DOUBLE
#else
#define MPI_REAL_TYPE MPI_FLOAT
#endif

typedef struct World {
  bool open;
  bool ended; /* MPI has been, and cannot start again */
  bool ours;  /* we have started MPI, so we end it */
  int rank, size;
  int host_ranks,
      host_rank;       /* those that run on this machine, and which of them we are */
  MPI_Comm comm, host; /* of all ranks; of this machine's */
  const char *call;    /* the MPI function that was called last */
} World;

/* The world of this process, which has one MPI. */
extern World world;

/* CALL(MPI_Barrier(world.comm)): its code, and its name noted. */
#define CALL(expression) (world.call = #expression, (expression))

/* Start MPI, unless it runs already.  Others than us may end it. */
int world_open(void);
/* End it, together with all others. */
int world_close(void);
/* End every process of the world, because this one cannot go on. */
void world_abort(int status);

/* The name of the last call, without its arguments; returns how long it is. */
int world_call_length(void);
/* What an error code means, in MPI's words; text has MPI_MAX_ERROR_STRING chars. */
void world_error_text(int code, char *text);

int world_broadcast(void *data, size_t bytes, int root);
/* sums[i] = values[i] of all ranks, added in the order of ranks; all has room for
 * count numbers of each rank. */
int world_sum(const double *values, double *all, double *sums, int count);
/* The bytes of every rank, one after the other: sizes and places are given for each. */
int world_gather(const void *data, int bytes, void *all, const int *sizes,
                 const int *places);

#endif

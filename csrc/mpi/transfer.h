/* Messages that are under way while something else is computed: sums over all ranks, and
 * every rank's numbers for all.
 *
 * A sum has two phases.  The numbers are cut into as many chunks as there are ranks; each
 * rank gets its own chunk from all others, adds them up in the order of ranks, and sends
 * the sum to all.  That moves as little as any way there is, 2(P − 1)/P of the numbers
 * into each rank and out of it, and each number is added up once, by one rank, in one
 * order: all get the same bits, in every run, from whichever MPI.
 *
 * The messages go from rank to rank with a tag of the transfer's own, because MPI's
 * collective functions must be called in one order everywhere, and the second phases
 * begin as the first ones happen to end. */
#ifndef CGLOW_MPI_TRANSFER_H
#define CGLOW_MPI_TRANSFER_H

#include "mpi/world.h"

typedef enum TransferKind { TRANSFER_SUM, TRANSFER_GATHER } TransferKind;
typedef enum TransferPhase {
  TRANSFER_IDLE,
  TRANSFER_FIRST,
  TRANSFER_SECOND
} TransferPhase;

typedef struct Transfer {
  struct Transfer *next, **link; /* among those under way, and what points to it there */
  TransferKind kind;
  TransferPhase phase;
  int tag;
  size_t count; /* sum: all numbers; gather: those of one rank */
  real *own;    /* sum: what is added, and then the sum; gather: what this rank gives */
  real *others; /* sum: transfer_inbox numbers of room; gather: count of each rank */
  real scale;   /* what a sum is multiplied by */
  int started;  /* requests */
  MPI_Status *status;
  MPI_Request request[]; /* 2·(size − 1), and as many statuses behind them */
} Transfer;

/* The bytes of a transfer. */
size_t transfer_bytes(void);
/* Numbers of room that a sum of so many wants. */
size_t transfer_inbox(size_t count);
/* The most numbers that one may move. */
size_t transfer_most(void);
void transfer_init(Transfer *t, TransferKind kind, size_t count, real *own, real *others,
                   real scale);

/* Begin; it must be idle. */
int transfer_start(Transfer *t);
/* Let all that are under way go on as far as messages have come. */
int transfer_progress(void);
/* Go on until this one is idle; the others go on meanwhile, because another rank may
 * wait for one of them first. */
int transfer_finish(const Transfer *t);
/* Is any under way? */
bool transfer_any(void);

#endif

/* Sums and gatherings that go on while others compute. */
#include "mpi/transfer.h"

#include <limits.h>
#include <string.h>

#include "mpi/add.h"

/* Tags may be used again when those who had them are done: MPI keeps the messages of two
 * ranks with one tag in order. */
#define TAGS 32000

static int next_tag;

static size_t others_count(void) { return (size_t)world.size - 1; }

/* An even number of requests, so that statuses are aligned behind them. */
size_t transfer_bytes(void) {
  return sizeof(Transfer) +
         2 * others_count() * (sizeof(MPI_Request) + sizeof(MPI_Status));
}

size_t transfer_most(void) { return INT_MAX; }

size_t transfer_inbox(size_t count) {
  return share_room(count, world.size) * others_count();
}

void transfer_init(Transfer *t, TransferKind kind, size_t count, real *own, real *others,
                   real scale) {
  *t = (Transfer){
      .kind = kind, .count = count, .own = own, .others = others, .scale = scale};
  t->status = (MPI_Status *)(void *)(t->request + 2 * others_count());
  t->tag = next_tag;
  next_tag = (next_tag + 1) % TAGS;
}

static Share share_for(const Transfer *t, int rank) {
  return share_of(t->count, rank, world.size);
}

/* The rank `step` places further on: all begin with another one. */
static int peer(int step) { return (world.rank + step) % world.size; }

static int receive(Transfer *t, real *to, size_t n, int from) {
  return CALL(MPI_Irecv(to, (int)n, MPI_REAL_TYPE, from, t->tag, world.comm,
                        &t->request[t->started++]));
}

static int send(Transfer *t, const real *from, size_t n, int to) {
  return CALL(MPI_Isend(from, (int)n, MPI_REAL_TYPE, to, t->tag, world.comm,
                        &t->request[t->started++]));
}

static real *inbox(const Transfer *t, int rank) {
  size_t place = (size_t)(rank < world.rank ? rank : rank - 1);
  return t->others + place * share_room(t->count, world.size);
}

/* Send each rank its share, and receive our share from all. */
static int scatter(Transfer *t) {
  int rc = MPI_SUCCESS;
  Share mine = share_for(t, world.rank);
  for (int i = 1; i < world.size && rc == MPI_SUCCESS; i++)
    rc = receive(t, inbox(t, peer(world.size - i)), mine.n, peer(world.size - i));
  for (int i = 1; i < world.size && rc == MPI_SUCCESS; i++) {
    Share theirs = share_for(t, peer(i));
    rc = send(t, t->own + theirs.first, theirs.n, peer(i));
  }
  return rc;
}

/* Send our share of the sum to all, and receive theirs. */
static int share(Transfer *t) {
  int rc = MPI_SUCCESS;
  Share mine = share_for(t, world.rank);
  for (int i = 1; i < world.size && rc == MPI_SUCCESS; i++) {
    Share theirs = share_for(t, peer(world.size - i));
    rc = receive(t, t->own + theirs.first, theirs.n, peer(world.size - i));
  }
  for (int i = 1; i < world.size && rc == MPI_SUCCESS; i++)
    rc = send(t, t->own + mine.first, mine.n, peer(i));
  return rc;
}

static int gather(Transfer *t) {
  int rc = MPI_SUCCESS;
  size_t n = t->count;
  memcpy(t->others + (size_t)world.rank * n, t->own, n * sizeof *t->own);
  for (int i = 1; i < world.size && rc == MPI_SUCCESS; i++) {
    int from = peer(world.size - i);
    rc = receive(t, t->others + (size_t)from * n, n, from);
  }
  for (int i = 1; i < world.size && rc == MPI_SUCCESS; i++)
    rc = send(t, t->own, n, peer(i));
  return rc;
}

/* What a rank has sent for our share. */
static const real *share_from(const void *transfer, int rank) {
  const Transfer *t = transfer;
  return rank == world.rank ? t->own + share_for(t, rank).first : inbox(t, rank);
}

/* Our share of the sum. */
static void add_up(const Transfer *t) {
  Share mine = share_for(t, world.rank);
  add_ranks(t->own + mine.first, mine.n, t->scale, world.size, share_from, t);
}

/* ---- going on --------------------------------------------------------------- */

static Transfer *active;

bool transfer_any(void) { return active != NULL; }

static void enter(Transfer *t) {
  t->next = active;
  t->link = &active;
  if (active != NULL) active->link = &t->next;
  active = t;
}

static void leave(Transfer *t) {
  *t->link = t->next;
  if (t->next != NULL) t->next->link = t->link;
  t->phase = TRANSFER_IDLE;
}

int transfer_start(Transfer *t) {
  t->phase = TRANSFER_FIRST;
  t->started = 0;
  enter(t);
  return t->kind == TRANSFER_SUM ? scatter(t) : gather(t);
}

/* What went wrong with one of several messages. */
static int error_of(const Transfer *t, int rc) {
  for (int i = 0; i < t->started && rc == MPI_ERR_IN_STATUS; i++) {
    int error = t->status[i].MPI_ERROR;
    if (error != MPI_SUCCESS && error != MPI_ERR_PENDING) rc = error;
  }
  return rc;
}

/* The messages of this phase have come. */
static int end_phase(Transfer *t) {
  t->started = 0;
  if (t->phase == TRANSFER_SECOND || t->kind == TRANSFER_GATHER) {
    leave(t);
    return MPI_SUCCESS;
  }
  add_up(t);
  t->phase = TRANSFER_SECOND;
  return share(t);
}

static int advance(Transfer *t) {
  int come = 0;
  int rc = CALL(MPI_Testall(t->started, t->request, &come, t->status));
  if (rc != MPI_SUCCESS) return error_of(t, rc);
  return come ? end_phase(t) : MPI_SUCCESS;
}

int transfer_progress(void) {
  int rc = MPI_SUCCESS;
  for (Transfer *t = active, *next; t != NULL && rc == MPI_SUCCESS; t = next) {
    next = t->next;
    rc = advance(t);
  }
  return rc;
}

/* Wait for a transfer that is the only one: MPI may wait as it likes. */
static int wait_alone(Transfer *t) {
  int rc = CALL(MPI_Waitall(t->started, t->request, t->status));
  return rc == MPI_SUCCESS ? end_phase(t) : error_of(t, rc);
}

int transfer_finish(const Transfer *t) {
  int rc = MPI_SUCCESS;
  while (t->phase != TRANSFER_IDLE && rc == MPI_SUCCESS)
    rc = active->next == NULL ? wait_alone(active) : transfer_progress();
  return rc;
}

/* MPI's start and end in a program that only loads it when it is wanted. */
#include "mpi/world.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

World world;

/* Lua loads modules with symbols of their own.  Open MPI's plugins look for libmpi's
 * among the global ones, so it is opened once more, to be seen by all; and this module
 * stays after Lua has closed its state, because MPI ends when the process does. */
static void stay_and_be_seen(void) {
  Dl_info self, library;
  if (dladdr((void *)(uintptr_t)world_open, &self) != 0 && self.dli_fname)
    /* cppcheck-suppress leakReturnValNotUsed ; for good is what is meant */
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
  if (dladdr((void *)(uintptr_t)MPI_Init_thread, &library) != 0 && library.dli_fname)
    /* cppcheck-suppress leakReturnValNotUsed ; for good is what is meant */
    dlopen(library.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
}

/* Whoever ends well ends together with the others.  After a failure they would wait for
 * messages that never come, so they are ended too. */
static void at_exit(int status) {
  if (!world.open) return;
  if (status == 0 || world.size == 1) {
    (void)world_close();
    return;
  }
  (void)fprintf(stderr,
                "cglow.mpi: rank %d of %d ends with status %d, and all others with it\n",
                world.rank, world.size, status);
  world_abort(status);
}

#ifdef __GLIBC__
static void at_exit_glibc(int status, void *unused) {
  (void)unused;
  at_exit(status);
}
static int register_exit(void) { return on_exit(at_exit_glibc, NULL); }
#else
/* Without the status every end counts as a good one. */
static void at_exit_plain(void) { at_exit(0); }
static int register_exit(void) { return atexit(at_exit_plain); }
#endif

static int find_host(void) {
  int rc = CALL(MPI_Comm_split_type(world.comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                                    &world.host));
  if (rc == MPI_SUCCESS)
    rc = CALL(MPI_Comm_set_errhandler(world.host, MPI_ERRORS_RETURN));
  if (rc == MPI_SUCCESS) rc = CALL(MPI_Comm_rank(world.host, &world.host_rank));
  if (rc == MPI_SUCCESS) rc = CALL(MPI_Comm_size(world.host, &world.host_ranks));
  return rc;
}

int world_open(void) {
  int running = 0, level;
  if (world.open) return MPI_SUCCESS;
  stay_and_be_seen();
  int rc = CALL(MPI_Initialized(&running));
  if (rc == MPI_SUCCESS && !running) {
    rc = CALL(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level));
    world.ours = rc == MPI_SUCCESS;
  }
  /* Messages of our own, that nobody else's can be taken for. */
  if (rc == MPI_SUCCESS) rc = CALL(MPI_Comm_dup(MPI_COMM_WORLD, &world.comm));
  if (rc == MPI_SUCCESS)
    rc = CALL(MPI_Comm_set_errhandler(world.comm, MPI_ERRORS_RETURN));
  if (rc == MPI_SUCCESS) rc = CALL(MPI_Comm_rank(world.comm, &world.rank));
  if (rc == MPI_SUCCESS) rc = CALL(MPI_Comm_size(world.comm, &world.size));
  if (rc == MPI_SUCCESS) rc = find_host();
  if (rc != MPI_SUCCESS) return rc;
  world.open = true;
  (void)register_exit();
  return rc;
}

int world_close(void) {
  int ended = 0;
  if (!world.open) return MPI_SUCCESS;
  world.open = false;
  world.ended = true;
  int rc = CALL(MPI_Finalized(&ended));
  if (rc != MPI_SUCCESS || ended) return rc;
  rc = CALL(MPI_Comm_free(&world.host));
  if (rc == MPI_SUCCESS) rc = CALL(MPI_Comm_free(&world.comm));
  if (rc == MPI_SUCCESS && world.ours) rc = CALL(MPI_Finalize());
  return rc;
}

void world_abort(int status) {
  (void)fflush(NULL);
  if (world.open) MPI_Abort(world.comm, status);
  _Exit(status);
}

int world_call_length(void) { return (int)strcspn(world.call, "("); }

void world_error_text(int code, char *text) {
  int length;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
    (void)snprintf(text, MPI_MAX_ERROR_STRING, "error %d", code);
}

/* MPI counts with int. */
#define PIECE ((size_t)1 << 30)

int world_broadcast(void *data, size_t bytes, int root) {
  char *at = data;
  int rc = MPI_SUCCESS;
  for (size_t n; bytes > 0 && rc == MPI_SUCCESS; bytes -= n, at += n) {
    n = bytes < PIECE ? bytes : PIECE;
    rc = CALL(MPI_Bcast(at, (int)n, MPI_BYTE, root, world.comm));
  }
  return rc;
}

int world_sum(const double *values, double *all, double *sums, int count) {
  int rc =
      CALL(MPI_Allgather(values, count, MPI_DOUBLE, all, count, MPI_DOUBLE, world.comm));
  if (rc != MPI_SUCCESS) return rc;
  for (int i = 0; i < count; i++) {
    sums[i] = 0;
    for (int rank = 0; rank < world.size; rank++) sums[i] += all[rank * count + i];
  }
  return rc;
}

int world_gather(const void *data, int bytes, void *all, const int *sizes,
                 const int *places) {
  return CALL(
      MPI_Allgatherv(data, bytes, MPI_BYTE, all, sizes, places, MPI_BYTE, world.comm));
}

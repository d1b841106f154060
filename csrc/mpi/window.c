/* Memory that the ranks of one machine share. */
#include "mpi/window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the machine's first rank has made, and what is like no other file of the machine. */
typedef struct Made {
  int error, process, file;
  dev_t device;
  ino_t inode;
} Made;

static void say(char why[WINDOW_WHY], const char *what, int error) {
  if (error != 0) (void)snprintf(why, WINDOW_WHY, "%s: %s", what, strerror(error));
}

/* A process that makes a file longer than it may is ended by a signal. */
static bool within_limit(size_t bytes) {
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
         bytes <= limit.rlim_cur;
}

/* As with other memory, what the machine surely lacks is refused, and the rest is had
 * when it is written to.  (To have it at once would take all that there is before it
 * fails.) */
static bool within_machine(size_t bytes) {
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages < 0 || bytes / (size_t)page < (size_t)pages;
}

/* A new file of zeros in memory. */
static Made make(size_t bytes, char why[WINDOW_WHY]) {
#ifdef __linux__
  Made m = {.process = (int)getpid(), .file = memfd_create("cglow", MFD_CLOEXEC)};
  struct stat seen = {0};
  if (!within_machine(bytes))
    m.error = ENOMEM;
  else if (!within_limit(bytes))
    m.error = EFBIG;
  else if (m.file < 0 || ftruncate(m.file, (off_t)bytes) != 0 || fstat(m.file, &seen) != 0)
    m.error = errno;
  m.device = seen.st_dev;
  m.inode = seen.st_ino;
#else
  (void)bytes, (void)within_limit, (void)within_machine;
  Made m = {.error = ENOSYS, .file = -1};
#endif
  say(why, "memory that ranks share cannot be made", m.error);
  return m;
}

/* The file that another process has made.  In a container of its own a process may see
 * another one by that number, whose file is not to be written to. */
static int find(const Made *m, char why[WINDOW_WHY]) {
  char path[64];
  struct stat seen;
  (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", m->process, m->file);
  if (stat(path, &seen) != 0) {
    say(why, path, errno);
    return -1;
  }
  if (seen.st_dev != m->device || seen.st_ino != m->inode) {
    say(why, path, ESRCH);
    return -1;
  }
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) say(why, path, errno);
  return file;
}

static void map(Window *w, int file, size_t bytes, char why[WINDOW_WHY]) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) {
    say(why, "memory that ranks share cannot be mapped", errno);
    return;
  }
  w->numbers = at;
  w->bytes = bytes;
}

int window_open(Window *w, size_t each, char why[WINDOW_WHY]) {
  size_t bytes = each * (size_t)world.host_ranks * sizeof(real);
  *w = (Window){.each = each};
  why[0] = '\0';
  Made made = {0};
  if (world.host_rank == 0) made = make(bytes, why);
  int rc = CALL(MPI_Bcast(&made, sizeof made, MPI_BYTE, 0, world.host));
  if (rc != MPI_SUCCESS) return rc;
  int file = made.file;
  if (world.host_rank > 0) file = made.error == 0 ? find(&made, why) : -1;
  if (made.error == 0 && file >= 0) map(w, file, bytes, why);
  int mine = w->numbers != NULL, all = 0;
  rc = CALL(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, world.host));
  if (file >= 0) (void)close(file); /* all have found it */
  if (rc == MPI_SUCCESS && all) return rc;
  if (mine) (void)munmap(w->numbers, bytes);
  w->numbers = NULL;
  return rc;
}

void window_close(Window *w) {
  if (w->numbers == NULL) return;
  /* What others hold of it must not be another's memory, whatever is mapped next. */
  if (mmap(w->numbers, w->bytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
    return; /* then it stays */
  w->numbers = NULL;
}

static int meet(void) { return CALL(MPI_Barrier(world.host)); }

static const real *share_from(const void *window, int host_rank) {
  const Window *w = window;
  return window_of(w, host_rank) +
         share_of(w->each, world.host_rank, world.host_ranks).first;
}

/* Each rank adds up its share, and then reads the others'. */
int window_sum(const Window *w, real scale) {
  int rc = meet(), ranks = world.host_ranks;
  if (rc != MPI_SUCCESS) return rc;
  real *own = window_of(w, world.host_rank);
  Share mine = share_of(w->each, world.host_rank, ranks);
  add_ranks(own + mine.first, mine.n, scale, ranks, share_from, w);
  rc = meet();
  for (int i = 1; i < ranks && rc == MPI_SUCCESS; i++) {
    int from = (world.host_rank + i) % ranks;
    Share theirs = share_of(w->each, from, ranks);
    memcpy(own + theirs.first, window_of(w, from) + theirs.first, theirs.n * sizeof *own);
  }
  return rc == MPI_SUCCESS ? meet() : rc;
}

/* Files: written whole or not at all, locked, read. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/crc32c.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors go between memory and little-endian files as they are"
#endif

/* --- plain files --- */

static int regular(int fd) {
  struct stat s;
  if (fstat(fd, &s) != 0) return errno;
  return S_ISREG(s.st_mode) ? 0 : S_ISDIR(s.st_mode) ? EISDIR : FILE_IRREGULAR;
}

/* As open.  Where the process was started with a standard stream closed, the system
 * would hand out its number, and what anyone prints would land in the file. */
static int open_above(const char *path, int flags, mode_t mode) {
  int fd = open(path, flags | O_CLOEXEC, mode);
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), e = errno;
  close(fd);
  errno = e;
  return above;
}

int file_open(const char *path, int flags, int *fd) {
  *fd = open_above(path, flags | O_NONBLOCK | O_NOCTTY, 0666);
  if (*fd < 0) return errno;
  int e = regular(*fd);
  if (e != 0) file_close(fd);
  return e;
}

int file_size(int fd, int64_t *size) {
  struct stat s;
  if (fstat(fd, &s) != 0) return errno;
  *size = s.st_size;
  return 0;
}

int file_read_at(int fd, int64_t at, void *to, size_t n) {
  char *p = to;
  while (n > 0) {
    ssize_t got = pread(fd, p, n, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return FILE_SHORT;
    p += got;
    at += got;
    n -= (size_t)got;
  }
  return 0;
}

/* Write from `at` on, or where the file stands if that is -1. */
static int write_all(int fd, int64_t at, const char *from, size_t n) {
  while (n > 0) {
    ssize_t put = at < 0 ? write(fd, from, n) : pwrite(fd, from, n, at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno;
    from += put;
    at += at < 0 ? 0 : put;
    n -= (size_t)put;
  }
  return 0;
}

/* Beyond the process's limit of a file's size write fails, as on a full disk, but
 * SIGXFSZ comes with it and ends the process.  So it is held back from this thread
 * meanwhile, and taken away unless it was waiting before. */
static int write_held(int fd, int64_t at, const char *from, size_t n) {
  sigset_t held, old, waiting;
  int signal;
  sigemptyset(&held);
  sigaddset(&held, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, &held, &old);
  bool before = sigpending(&waiting) == 0 && sigismember(&waiting, SIGXFSZ) == 1;
  int e = write_all(fd, at, from, n);
  if (!before && sigpending(&waiting) == 0 && sigismember(&waiting, SIGXFSZ) == 1)
    sigwait(&held, &signal);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return e;
}

int file_write(int fd, const void *from, size_t n) { return write_held(fd, -1, from, n); }

int file_write_at(int fd, int64_t at, const void *from, size_t n) {
  return write_held(fd, at, from, n);
}

int file_append(int fd, const void *from, size_t n) {
  int64_t before = 0;
  int e = file_size(fd, &before);
  if (e != 0) return e;
  e = file_write(fd, from, n);
  if (e != 0 && ftruncate(fd, before) != 0) return errno;
  return e;
}

/* Does the error say that the file system cannot sync or lock?  Both only make things
 * safer, so they are left out then. */
static bool unsupported(int error) {
  return error == EINVAL || error == ENOSYS || error == ENOTSUP || error == EOPNOTSUPP;
}

int file_sync(int fd) { return fsync(fd) == 0 || unsupported(errno) ? 0 : errno; }

int file_close(int *fd) {
  int old = *fd;
  *fd = -1;
  return old < 0 || close(old) == 0 ? 0 : errno;
}

int file_lock(const char *path, int *fd, bool *held) {
  int e = file_open(path, O_RDWR | O_CREAT, fd);
  *held = true;
  if (e != 0) return e;
  while (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOLCK || unsupported(errno)) {
      *held = false;
      return 0;
    }
    e = errno;
    file_close(fd);
    return e;
  }
  return 0;
}

/* --- numbers --- */

#define REAL_FORMAT (sizeof(real) == sizeof(float) ? FORMAT_F32 : FORMAT_F64)
#define CHUNK_BYTES ((size_t)1 << 20) /* stays in the cache until it is summed */
#define CHUNK_OTHERS ((size_t)32768)  /* bytes of numbers in another format */

static int read_same(int fd, int64_t at, real *to, size_t count, uint32_t *crc) {
  char *p = (char *)to;
  size_t left = count * sizeof(real);
  while (left > 0) {
    size_t n = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    int e = file_read_at(fd, at, p, n);
    if (e != 0) return e;
    *crc = crc32c(*crc, p, n);
    p += n;
    at += (int64_t)n;
    left -= n;
  }
  return 0;
}

static void reverse_each(char *bytes, size_t n, size_t size) {
  for (size_t i = 0; i < n * size; i += size)
    for (size_t k = 0; k < size / 2; k++) {
      char b = bytes[i + k];
      bytes[i + k] = bytes[i + size - 1 - k];
      bytes[i + size - 1 - k] = b;
    }
}

/* Whole numbers are the same if they give the same bytes again. */
static int convert(Format f, const char *from, real *to, size_t n) {
  char again[CHUNK_OTHERS];
  if (format_decode(f, from, to, n) < n) return FILE_RANGE;
  if (f <= FORMAT_BF16) return 0;
  bool same =
      format_encode(f, to, again, n) == n && memcmp(from, again, n * format_size(f)) == 0;
  return same ? 0 : FILE_INEXACT;
}

static int read_other(int fd, int64_t at, FileNumbers stored, real *to, size_t count,
                      uint32_t *crc) {
  char chunk[CHUNK_OTHERS];
  size_t size = format_size(stored.format), room = CHUNK_OTHERS / size;
  while (count > 0) {
    size_t n = count < room ? count : room;
    int e = file_read_at(fd, at, chunk, n * size);
    if (e != 0) return e;
    *crc = crc32c(*crc, chunk, n * size);
    if (stored.big) reverse_each(chunk, n, size);
    e = convert(stored.format, chunk, to, n);
    if (e != 0) return e;
    to += n;
    at += (int64_t)(n * size);
    count -= n;
  }
  return 0;
}

int file_read_numbers(int fd, int64_t at, FileNumbers stored, real *to, size_t count,
                      uint32_t *crc) {
  *crc = 0;
  return stored.format == REAL_FORMAT && !stored.big
             ? read_same(fd, at, to, count, crc)
             : read_other(fd, at, stored, to, count, crc);
}

/* --- files that appear whole --- */

/* Room for the numbers in a temporary name. */
#define TEMPORARY_ROOM 64

size_t atomic_size(const char *path) {
  return sizeof(AtomicFile) + 3 * (strlen(path) + 1) + TEMPORARY_ROOM;
}

/* The parent of `path` into `to`; false when the path names no file in it. */
static bool parent_of(const char *path, char *to) {
  const char *slash = strrchr(path, '/');
  const char *base = slash ? slash + 1 : path;
  if (*base == '\0') return false;
  if (slash == NULL) {
    memcpy(to, ".", 2);
  } else {
    size_t n = slash == path ? 1 : (size_t)(slash - path);
    memcpy(to, path, n);
    to[n] = '\0';
  }
  return true;
}

/* What stands at the target must be nothing or a regular file: renaming over
 * /dev/null would do harm.  Its mode goes over to the new file. */
static int check_target(const AtomicFile *a, struct stat *old, bool *exists) {
  *exists = stat(a->target, old) == 0;
  if (!*exists) return errno == ENOENT ? 0 : errno;
  return S_ISREG(old->st_mode) ? 0 : S_ISDIR(old->st_mode) ? EISDIR : FILE_IRREGULAR;
}

static int open_temporary(AtomicFile *a, char *name, size_t room) {
  for (unsigned i = 0; i < 1000; i++) {
    int n = snprintf(name, room, "%s/.cglow-%ld-%u.tmp", a->directory, (long)getpid(), i);
    if (n < 0 || (size_t)n >= room) return ENAMETOOLONG;
    a->fd = open_above(name, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (a->fd >= 0) return 0;
    if (errno != EEXIST) return errno;
  }
  return EEXIST;
}

int atomic_open(AtomicFile *a, const char *path) {
  size_t n = strlen(path) + 1;
  char *directory = a->text + n;
  char *temporary = directory + n + 1; /* "." may be longer than the path */
  memcpy(a->text, path, n);
  a->fd = -1;
  a->target = a->text;
  a->directory = directory;
  a->temporary = temporary;
  if (!parent_of(path, directory)) return *path ? EISDIR : ENOENT;
  struct stat old;
  bool exists;
  int e = check_target(a, &old, &exists);
  if (e == 0) e = open_temporary(a, temporary, n + TEMPORARY_ROOM - 1);
  if (e != 0) return e;
  if (exists && fchmod(a->fd, old.st_mode & 0777) != 0) {
    e = errno;
    atomic_abort(a);
  }
  return e;
}

/* The directory holds the name, so it must reach the disk as well. */
static int sync_directory(const char *path) {
  int fd = open_above(path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return errno;
  int e = file_sync(fd);
  file_close(&fd);
  return e;
}

int atomic_commit(AtomicFile *a, bool sync) {
  int e = sync ? file_sync(a->fd) : 0;
  int closing = file_close(&a->fd);
  if (e == 0) e = closing;
  if (e == 0 && rename(a->temporary, a->target) != 0) e = errno;
  if (e != 0) {
    unlink(a->temporary);
    return e;
  }
  return sync ? sync_directory(a->directory) : 0;
}

void atomic_abort(AtomicFile *a) {
  if (a->fd < 0) return;
  file_close(&a->fd);
  unlink(a->temporary);
}

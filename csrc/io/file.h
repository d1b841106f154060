/* POSIX files, free of Lua: reading at a place, replacing a file whole,
 * appending, locking.  Functions return 0 or an errno value. */
#ifndef CGLOW_IO_FILE_H
#define CGLOW_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/formats.h"

/* Beside errno: the file is shorter than it was when it was opened. */
#define FILE_SHORT (-1)
/* Beside errno: a stored number is too large for `real`. */
#define FILE_RANGE (-2)
/* Beside errno: a FIFO, a device or the like. */
#define FILE_IRREGULAR (-3)
/* Beside errno: a stored whole number is none of those that `real` has. */
#define FILE_INEXACT (-4)

/* Open a regular file (anything else is refused, so that a FIFO cannot make us
 * wait), close-on-exec, never as a standard stream. */
int file_open(const char *path, int flags, int *fd);
int file_size(int fd, int64_t *size);
int file_read_at(int fd, int64_t at, void *to, size_t n);
/* Write where the file stands, or from byte `at` on.  EFBIG beyond the process's limit
 * of a file's size, without the signal that goes with it. */
int file_write(int fd, const void *from, size_t n);
int file_write_at(int fd, int64_t at, const void *from, size_t n);
/* Append n bytes, or leave the file as long as it was. */
int file_append(int fd, const void *from, size_t n);
/* Wait for the disk, where the file system can. */
int file_sync(int fd);
/* Close *fd unless it is -1, and make it -1. */
int file_close(int *fd);
/* Open (or make) a lock file and hold it; EWOULDBLOCK when someone else does.  *held is
 * false where the file system has no locks. */
int file_lock(const char *path, int *fd, bool *held);

/* Read `count` numbers of a format into `to`; `big`: their highest byte is first.
 * Fractions are rounded to what `real` has, whole numbers must be the same.  *crc gets
 * the checksum of the bytes as stored. */
typedef struct FileNumbers {
  Format format;
  bool big;
} FileNumbers;
int file_read_numbers(int fd, int64_t at, FileNumbers stored, real *to, size_t count,
                      uint32_t *crc);

/* A file that appears under its name whole or not at all: it is written beside
 * its place under another name, synced, and renamed. */
typedef struct AtomicFile {
  int fd; /* -1: nothing is open, nothing is left behind */
  const char *target, *directory, *temporary; /* inside text */
  char text[];
} AtomicFile;

/* Bytes that an AtomicFile for this path takes. */
size_t atomic_size(const char *path);
int atomic_open(AtomicFile *a, const char *path);
/* Put the file in its place.  With `sync` it has reached the disk, and so has
 * its name.  On failure nothing is left behind. */
int atomic_commit(AtomicFile *a, bool sync);
/* Drop what was written; harmless when nothing is open. */
void atomic_abort(AtomicFile *a);

#endif

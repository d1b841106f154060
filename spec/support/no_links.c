/* Preloaded, a file system without symbolic and hard links (NOLINK), locks (NOLOCK) or
 * syncs (NOSYNC), as on exFAT, some network mounts and in some containers. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

static int refuse(int error) {
  errno = error;
  return -1;
}

int symlink(const char *to, const char *path) {
  if (getenv("NOLINK")) return refuse(EPERM);
  return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "symlink"))(to, path);
}

int link(const char *from, const char *to) {
  if (getenv("NOLINK")) return refuse(EPERM);
  return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "link"))(from, to);
}

int flock(int fd, int operation) {
  if (getenv("NOLOCK")) return refuse(ENOLCK);
  return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(fd, operation);
}

int fsync(int fd) {
  if (getenv("NOSYNC")) return refuse(EINVAL);
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

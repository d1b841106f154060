/* Binding of csrc/file.c: the table `cglow.core.file`.
 *
 * Whatever holds a descriptor is a userdata with __gc and __close, so nothing
 * leaks on an error. Failures of the system are `nil, message, code`. */
#include "lua/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "io/crc32c.h"
#include "lua/class.h"
#include "lua/open.h"
#include "lua/tensor.h"

/*** Files that hold tensors: written whole or not at all, read without trust.
@module cglow.core.file */

#define APPEND_TYPE "cglow.file.Append"
#define LOCK_TYPE "cglow.file.Lock"

/* --- errors and handles --- */

static const char *describe(int error) {
  switch (error) {
    case FILE_SHORT:
      return "the file is shorter than it was when it was opened";
    case FILE_RANGE:
      return "holds a number that is too large for " REAL_NAME;
    case FILE_INEXACT:
      return "holds a whole number that " REAL_NAME " does not have exactly";
    case FILE_IRREGULAR:
      return "not a regular file";
    case EWOULDBLOCK:
      return "locked by another process";
    default:
      return strerror(error);
  }
}

static int file_code(int error) {
  return error > 0 ? error : error == FILE_IRREGULAR ? EINVAL : EBADMSG;
}

int file_fail(lua_State *L, int path, int error) {
  const char *name = lua_tostring(L, path);
  luaL_pushfail(L);
  lua_pushfstring(L, "%s: %s", name, describe(error));
  lua_pushinteger(L, file_code(error));
  return 3;
}

int file_reason(lua_State *L, int error) {
  luaL_pushfail(L);
  lua_pushstring(L, describe(error));
  lua_pushinteger(L, file_code(error));
  return 3;
}

int file_fail_at(lua_State *L, int error) {
  lua_getiuservalue(L, 1, 1);
  return file_fail(L, lua_gettop(L), error);
}

int file_done_at(lua_State *L, int error) {
  if (error != 0) return file_fail_at(L, error);
  lua_pushboolean(L, 1);
  return 1;
}

const char *file_check_path(lua_State *L, int arg) {
  size_t n;
  luaL_checktype(L, arg, LUA_TSTRING);
  const char *path = lua_tolstring(L, arg, &n);
  luaL_argcheck(L, strlen(path) == n, arg, "path holds a zero byte");
  return path;
}

FileHandle *handle_new(lua_State *L, const char *type) {
  FileHandle *h = lua_newuserdatauv(L, sizeof *h, 1);
  h->fd = -1;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, type);
  return h;
}

FileHandle *handle_check(lua_State *L, const char *type) {
  FileHandle *h = luaL_checkudata(L, 1, type);
  luaL_argcheck(L, h->fd >= 0, 1, "an open file expected, this one is closed");
  return h;
}

/* Reached only through the metatables of handles, so its argument is checked
 * against the type that the closure was made for. */
int handle_close(lua_State *L) {
  FileHandle *h = luaL_checkudata(L, 1, lua_tostring(L, lua_upvalueindex(1)));
  return file_done_at(L, file_close(&h->fd));
}

void file_new_type(lua_State *L, const char *type, const luaL_Reg *methods,
                   lua_CFunction close) {
  const luaL_Reg closing[] = {
      {"close", close}, {"__gc", close}, {"__close", close}, {NULL, NULL}};
  class_new(L, type, methods);
  class_add(L, type, closing);
}

/* --- appending --- */

/*** Open a file to append to, made when it is not there.
@function file.append
@tparam string path
@treturn[1] Append with `write(text)`, `sync()` and `close()`
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
static int append_open(lua_State *L) {
  const char *path = file_check_path(L, 1);
  FileHandle *h = handle_new(L, APPEND_TYPE);
  int e = file_open(path, O_WRONLY | O_CREAT | O_APPEND, &h->fd);
  return e != 0 ? file_fail(L, 1, e) : 1;
}

/*** Append text; all of it, or none when the disk is full.
@function Append:write
@tparam string text
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
static int append_write(lua_State *L) {
  FileHandle *h = handle_check(L, APPEND_TYPE);
  size_t n;
  const char *text = luaL_checklstring(L, 2, &n);
  return file_done_at(L, file_append(h->fd, text, n));
}

/*** Wait until what was appended has reached the disk.
@function Append:sync
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
static int append_sync(lua_State *L) {
  FileHandle *h = handle_check(L, APPEND_TYPE);
  return file_done_at(L, file_sync(h->fd));
}

static const luaL_Reg append_methods[] = {
    {"write", append_write}, {"sync", append_sync}, {NULL, NULL}};

/* --- locking --- */

/*** Hold a lock file until it is closed, collected, or the process ends; the
file itself stays. A child made by `fork` shares its parent's lock.
@function file.lock
@tparam string path made when it is not there
@treturn[1] Lock with `close()`
@treturn[1] boolean is it held? Not where the file system has no locks
@treturn[2] nil when someone else holds it, or the file cannot be made
@treturn[2] string message
@treturn[2] integer code */
static int lock(lua_State *L) {
  const char *path = file_check_path(L, 1);
  FileHandle *h = handle_new(L, LOCK_TYPE);
  bool held;
  int e = file_lock(path, &h->fd, &held);
  if (e != 0) return file_fail(L, 1, e);
  lua_pushboolean(L, held);
  return 2;
}

static const luaL_Reg lock_methods[] = {{NULL, NULL}};

/* --- checksums --- */

/*** CRC-32C of a string, or of a tensor's numbers as they lie in memory.
@function file.crc32c
@tparam string|Tensor data
@treturn integer 0 to 2^32 - 1 */
static int checksum(lua_State *L) {
  const Tensor *t = tensor_test(L, 1);
  size_t n = t ? t->count * sizeof(real) : 0;
  const void *bytes = t ? (const void *)t->data : luaL_checklstring(L, 1, &n);
  lua_pushinteger(L, crc32c(0, bytes, n));
  return 1;
}

/*** Does the string a come before b, byte by byte? What is written to files is in this
order: `<` has the order of the locale, another one elsewhere.
@function file.before
@tparam string a
@tparam string b
@treturn boolean */
static int before(lua_State *L) {
  size_t na, nb;
  const char *a = luaL_checklstring(L, 1, &na), *b = luaL_checklstring(L, 2, &nb);
  int order = memcmp(a, b, na < nb ? na : nb);
  lua_pushboolean(L, order < 0 || (order == 0 && na < nb));
  return 1;
}

#ifdef CGLOW_REFERENCE
/* file.crc32c_portable(string): the version without the instruction. */
static int checksum_portable(lua_State *L) {
  size_t n;
  const char *bytes = luaL_checklstring(L, 1, &n);
  lua_pushinteger(L, crc32c_portable(0, bytes, n));
  return 1;
}
#endif

static const luaL_Reg functions[] = {{"append", append_open},
                                     {"lock", lock},
                                     {"crc32c", checksum},
                                     {"before", before},
#ifdef CGLOW_REFERENCE
                                     {"crc32c_portable", checksum_portable},
#endif
                                     {NULL, NULL}};

void open_file(lua_State *L) {
  file_new_type(L, APPEND_TYPE, append_methods, handle_close);
  file_new_type(L, LOCK_TYPE, lock_methods, handle_close);
  luaL_setfuncs(L, functions, 0);
  lua_pushinteger(L, EBADMSG); /* the code of files with bad contents */
  lua_setfield(L, -2, "EBADMSG");
  lua_pushinteger(L, ENOMEM);
  lua_setfield(L, -2, "ENOMEM");
}

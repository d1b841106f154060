/* Files that appear whole or not at all (AtomicFile in csrc/file.h). */

#include "io/crc32c.h"
#include "lua/file.h"
#include "lua/open.h"
#include "lua/tensor.h"

/*** @submodule cglow.core.file */

#define WRITER_TYPE "cglow.file.Writer"

/* Push a writer for the path at 1, nothing open yet; *e says how it went. */
static AtomicFile *writer_new(lua_State *L, int *e) {
  const char *path = file_check_path(L, 1);
  AtomicFile *a = lua_newuserdatauv(L, atomic_size(path), 1);
  a->fd = -1;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, WRITER_TYPE);
  *e = atomic_open(a, path);
  return a;
}

/*** Begin a file that takes its place only when `commit` is called. A link at
the path is replaced, not followed.
@function file.create
@tparam string path
@treturn[1] Writer with `write`, `write_tensor`, `commit`, and `close`, which
drops what was not committed
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
static int writer_create(lua_State *L) {
  int e;
  writer_new(L, &e);
  return e != 0 ? file_fail(L, 1, e) : 1;
}

static AtomicFile *check_open(lua_State *L) {
  AtomicFile *a = luaL_checkudata(L, 1, WRITER_TYPE);
  luaL_argcheck(L, a->fd >= 0, 1, "an open file expected, this one is closed");
  return a;
}

/* The optional offset at arg of n bytes that are to replace others; -1: none. */
static int64_t check_place(lua_State *L, int arg, int fd, size_t n) {
  if (lua_isnoneornil(L, arg)) return -1;
  int64_t at = luaL_checkinteger(L, arg), size = 0;
  int e = file_size(fd, &size);
  if (e != 0 || at < 0 || (uint64_t)n > (uint64_t)size || at > size - (int64_t)n)
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "offset of %I among the %I bytes written expected, got %I",
                        (LUAI_UACINT)n, (LUAI_UACINT)size, (LUAI_UACINT)at));
  return at;
}

/*** Write bytes.
@function Writer:write
@tparam string bytes
@tparam[opt] integer at offset from 0 of the bytes to write over; else at the end
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
static int writer_write(lua_State *L) {
  check_open(L);
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n); /* of a number makes a string */
  int fd = check_open(L)->fd;                      /* a finalizer may have closed it */
  int64_t at = check_place(L, 3, fd, n);
  return file_done_at(
      L, at < 0 ? file_write(fd, bytes, n) : file_write_at(fd, at, bytes, n));
}

/*** Write a tensor's numbers as they lie in memory: little-endian, F32 (F64 in
the double build).
@function Writer:write_tensor
@tparam Tensor tensor
@treturn[1] boolean true
@treturn[1] integer CRC-32C of the bytes written
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
static int writer_write_tensor(lua_State *L) {
  check_open(L);
  const Tensor *t = tensor_check(L, 2);
  size_t n = t->count * sizeof(real);
  uint32_t crc = crc32c(0, t->data, n); /* no Lua code can run between these two */
  int e = file_write(check_open(L)->fd, t->data, n);
  if (e != 0) return file_fail_at(L, e);
  lua_pushboolean(L, 1);
  lua_pushinteger(L, crc);
  return 2;
}

/*** Put the file in its place and close the writer.
@function Writer:commit
@tparam[opt=true] boolean sync wait until the file and its name are on the disk
@treturn[1] boolean true
@treturn[2] nil; nothing is left behind
@treturn[2] string message
@treturn[2] integer code */
static int writer_commit(lua_State *L) {
  AtomicFile *a = check_open(L);
  bool sync = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
  return file_done_at(L, atomic_commit(a, sync));
}

static int writer_close(lua_State *L) {
  atomic_abort(luaL_checkudata(L, 1, WRITER_TYPE));
  lua_pushboolean(L, 1);
  return 1;
}

/*** Replace a whole file by this text: readers see the old or the new one,
never a part.
@function file.write
@tparam string path
@tparam string text
@tparam[opt=true] boolean sync wait until it is on the disk
@treturn[1] boolean true
@treturn[2] nil; the old file, if any, is untouched
@treturn[2] string message
@treturn[2] integer code */
static int write_whole(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 2, &n);
  bool sync = lua_isnoneornil(L, 3) || lua_toboolean(L, 3);
  int e;
  AtomicFile *a = writer_new(L, &e);
  if (e == 0) e = file_write(a->fd, text, n);
  if (e == 0) e = atomic_commit(a, sync);
  if (e != 0) {
    atomic_abort(a);
    return file_fail(L, 1, e);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg methods[] = {{"write", writer_write},
                                   {"write_tensor", writer_write_tensor},
                                   {"commit", writer_commit},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"create", writer_create}, {"write", write_whole}, {NULL, NULL}};

void open_file_writer(lua_State *L) {
  file_new_type(L, WRITER_TYPE, methods, writer_close);
  luaL_setfuncs(L, functions, 0);
}

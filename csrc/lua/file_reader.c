/* Reading tensors out of a file, straight into their memory. */
#include <fcntl.h>

#include "lua/check.h"
#include "lua/file.h"
#include "lua/open.h"
#include "lua/tensor.h"

/*** @submodule cglow.core.file */

#define READER_TYPE "cglow.file.Reader"

/*** Open a regular file for reading at any place. The messages of the
reader's methods do not name the file: their caller knows more to say.
@function file.open
@tparam string path
@treturn[1] Reader with `size()`, `read(at, n)`, `read_tensor(…)`, `close()`
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer code */
static int reader_open(lua_State *L) {
  const char *path = file_check_path(L, 1);
  FileHandle *h = handle_new(L, READER_TYPE);
  int e = file_open(path, O_RDONLY, &h->fd);
  return e != 0 ? file_fail(L, 1, e) : 1;
}

/* 0 ≤ at and at + n ≤ the size of the file, so that nobody makes room for more
 * than the file holds. */
static int check_range(lua_State *L, const FileHandle *h, lua_Integer at, size_t n) {
  int64_t size;
  int e = file_size(h->fd, &size);
  if (e != 0) return e;
  if (at < 0 || at > size)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "place outside the file of %I bytes: got %I",
                                  (LUAI_UACINT)size, (LUAI_UACINT)at));
  return (uint64_t)n > (uint64_t)(size - at) ? FILE_SHORT : 0;
}

/*** Size of the file in bytes.
@function Reader:size
@treturn integer */
static int reader_size(lua_State *L) {
  FileHandle *h = handle_check(L, READER_TYPE);
  int64_t size;
  int e = file_size(h->fd, &size);
  if (e != 0) return file_reason(L, e);
  lua_pushinteger(L, size);
  return 1;
}

/*** Read bytes.
@function Reader:read
@tparam integer at offset from 0
@tparam integer n how many
@treturn[1] string n bytes
@treturn[2] nil when they are not all there
@treturn[2] string message
@treturn[2] integer code */
static int reader_read(lua_State *L) {
  FileHandle *h = handle_check(L, READER_TYPE);
  lua_Integer at = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
  if (n < 0)
    luaL_argerror(
        L, 3, lua_pushfstring(L, "a count of bytes expected, got %I", (LUAI_UACINT)n));
  int e = check_range(L, h, at, (size_t)n);
  if (e != 0) return file_reason(L, e);
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, (size_t)n);
  e = file_read_at(h->fd, at, to, (size_t)n);
  luaL_pushresultsize(&b, e == 0 ? (size_t)n : 0);
  return e != 0 ? file_reason(L, e) : 1;
}

static size_t check_bytes(lua_State *L, int ndim, const size_t *dim, Format format) {
  size_t bytes = format_size(format);
  for (int i = 0; i < ndim; i++)
    if (!checked_mul(bytes, dim[i], &bytes))
      luaL_argerror(L, 4,
                    lua_pushfstring(L, "the shape's size overflows: got %s",
                                    tensor_push_shape(L, ndim, dim)));
  return bytes;
}

/*** Read a new tensor. Fractions are rounded to the core's precision; whole numbers must
be among its numbers.
@function Reader:read_tensor
@tparam integer at offset from 0, in bytes
@tparam string format as for `Tensor:bytes`
@tparam {integer,...} shape
@tparam[opt] boolean big is each number's highest byte the first one?
@treturn[1] Tensor
@treturn[1] integer CRC-32C of the bytes as stored
@treturn[2] nil when they are not all there, or one has no place among the core's numbers
@treturn[2] string message
@treturn[2] integer code */
static int reader_read_tensor(lua_State *L) {
  FileHandle *h = handle_check(L, READER_TYPE);
  lua_Integer at = luaL_checkinteger(L, 2);
  FileNumbers stored = {(Format)check_word(L, 3, NULL, format_names),
                        lua_toboolean(L, 5)};
  luaL_checktype(L, 4, LUA_TTABLE);
  size_t dim[TENSOR_MAX_DIM];
  lua_settop(L, 4);
  int ndim = tensor_check_dims(L, 4, dim);
  int e = check_range(L, h, at, check_bytes(L, ndim, dim, stored.format));
  if (e != 0) return file_reason(L, e);
  Tensor *t = tensor_new(L, ndim, dim);
  uint32_t crc;
  e = file_read_numbers(h->fd, at, stored, t->data, t->count, &crc);
  if (e != 0) return file_reason(L, e);
  lua_pushinteger(L, crc);
  return 2;
}

static const luaL_Reg methods[] = {{"size", reader_size},
                                   {"read", reader_read},
                                   {"read_tensor", reader_read_tensor},
                                   {NULL, NULL}};

void open_file_reader(lua_State *L) {
  file_new_type(L, READER_TYPE, methods, handle_close);
  lua_pushcfunction(L, reader_open);
  lua_setfield(L, -2, "open");
}

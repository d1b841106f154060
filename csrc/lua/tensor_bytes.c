/* Tensors in Lua: their numbers as bytes, and back. */
#include "base/formats.h"
#include "lua/check.h"
#include "lua/noreturn.h"
#include "lua/tensor.h"
#include "lua/tensor_methods.h"

/*** @submodule cglow.Tensor */

/*** The numbers as bytes, little-endian, the last dimension running fastest: for sockets,
other libraries and files of one's own.
@function Tensor:bytes
@string[opt="F32"] format F32, F64, F16 or BF16, to which numbers are rounded; U8, I8,
U16, I16, U32, I32, U64 or I64, which take whole numbers
@treturn string
@raise when a number has no place in that format */
static int bytes(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  Format f = (Format)check_word(L, 2, "F32", format_names);
  size_t size;
  if (!checked_mul(t->count, format_size(f), &size))
    return luaL_error(L, "bytes: tensor too large: its size in bytes overflows");
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, size);
  size_t done = format_encode(f, t->data, to, t->count);
  if (done < t->count)
    return luaL_argerror(
        L, 2,
        lua_pushfstring(L, "a format for %f expected, which is number %I, got '%s'",
                        (LUAI_UACNUMBER)t->data[done], (LUAI_UACINT)done + 1,
                        format_names[f]));
  luaL_pushresultsize(&b, size);
  return 1;
}

/* The shape from arg 3 on, or one dimension of all numbers. */
static int check_shape(lua_State *L, size_t numbers, size_t dim[TENSOR_MAX_DIM]) {
  dim[0] = numbers;
  int ndim = lua_isnoneornil(L, 3) ? 1 : tensor_check_dims(L, 3, dim);
  size_t count = 1;
  for (int i = 0; i < ndim; i++)
    if (!checked_mul(count, dim[i], &count)) count = 0;
  if (count != numbers || count == 0)
    luaL_argerror(L, 3,
                  lua_pushfstring(L, "shape of %I numbers expected, got %s",
                                  (LUAI_UACINT)numbers, tensor_push_shape(L, ndim, dim)));
  return ndim;
}

/*** A tensor from bytes: the way back from `Tensor:bytes`.
@function from_bytes
@string bytes little-endian numbers
@string[opt="F32"] format as for `Tensor:bytes`; numbers are rounded to the core's
precision
@param[opt] ... the shape: one to four positive integers, or one list of them; one
dimension when absent
@treturn Tensor
@raise when the bytes are not those of that many numbers, or a number is too large */
static int from_bytes(lua_State *L) {
  size_t length, dim[TENSOR_MAX_DIM];
  luaL_checktype(L, 1, LUA_TSTRING);
  const char *from = lua_tolstring(L, 1, &length);
  Format f = (Format)check_word(L, 2, "F32", format_names);
  size_t size = format_size(f);
  luaL_argcheck(
      L, length > 0 && length % size == 0, 1,
      lua_pushfstring(L, "bytes of numbers of %I bytes expected, got %I of them",
                      (LUAI_UACINT)size, (LUAI_UACINT)length));
  int ndim = check_shape(L, length / size, dim);
  Tensor *t = tensor_new(L, ndim, dim);
  size_t done = format_decode(f, from, t->data, t->count);
  if (done < t->count)
    return luaL_argerror(L, 1,
                         lua_pushfstring(L,
                                         "numbers that " REAL_NAME " can hold expected, "
                                         "got a larger one at %I",
                                         (LUAI_UACINT)done + 1));
  return 1;
}

const luaL_Reg tensor_bytes_methods[] = {{"bytes", bytes}, {NULL, NULL}};
const luaL_Reg tensor_bytes_functions[] = {{"from_bytes", from_bytes}, {NULL, NULL}};

/* Lua values as bytes: a letter for the kind, then what it holds; a table is its keys and
 * values in turn, and a letter for its end. */
#include "lua/parcel.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "lua/noreturn.h"
#include "lua/tensor.h"

enum { LEVELS = 8 }; /* of tables in tables */

enum Kind {
  TABLE = 'T',
  END = 'E',
  TENSOR = 't',
  STRING = 's',
  INTEGER = 'i',
  NUMBER = 'n',
  BOOLEAN = 'b'
};

/* ---- packing ---- */

static void put(lua_State *L, Parcel *p, const void *bytes, size_t size) {
  if (size > p->capacity - p->size) {
    size_t capacity = p->capacity + p->capacity / 2 + 256;
    if (capacity - p->size < size) capacity = p->size + size;
    char *grown = realloc(p->bytes, capacity);
    if (grown == NULL) luaL_error(L, "not enough memory");
    p->bytes = grown;
    p->capacity = capacity;
  }
  if (size > 0) memcpy(p->bytes + p->size, bytes, size);
  p->size += size;
}

static void put_kind(lua_State *L, Parcel *p, enum Kind kind) {
  char letter = (char)kind;
  put(L, p, &letter, 1);
}

static void put_tensor(lua_State *L, Parcel *p, const Tensor *t) {
  put_kind(L, p, TENSOR);
  put(L, p, &t->ndim, sizeof t->ndim);
  put(L, p, t->dim, sizeof t->dim);
  put(L, p, t->data, t->count * sizeof *t->data);
}

static void put_string(lua_State *L, Parcel *p, int at) {
  size_t length;
  const char *text = lua_tolstring(L, at, &length);
  put_kind(L, p, STRING);
  put(L, p, &length, sizeof length);
  put(L, p, text, length);
}

static void put_number(lua_State *L, Parcel *p, int at) {
  if (lua_isinteger(L, at)) {
    lua_Integer i = lua_tointeger(L, at);
    put_kind(L, p, INTEGER);
    put(L, p, &i, sizeof i);
  } else {
    lua_Number n = lua_tonumber(L, at);
    put_kind(L, p, NUMBER);
    put(L, p, &n, sizeof n);
  }
}

static void put_boolean(lua_State *L, Parcel *p, int at) {
  char yes = (char)lua_toboolean(L, at);
  put_kind(L, p, BOOLEAN);
  put(L, p, &yes, 1);
}

static void put_value(lua_State *L, Parcel *p, int at, int levels);

/* NOLINTNEXTLINE(misc-no-recursion): LEVELS deep at the most */
static void put_table(lua_State *L, Parcel *p, int at, int levels) {
  if (levels == 0) luaL_error(L, "tables in more than %d levels", (int)LEVELS);
  luaL_checkstack(L, 4, NULL);
  put_kind(L, p, TABLE);
  for (lua_pushnil(L); lua_next(L, at) != 0; lua_pop(L, 1)) {
    int value = lua_gettop(L);
    put_value(L, p, value - 1, 0);
    put_value(L, p, value, levels - 1);
  }
  put_kind(L, p, END);
}

/* NOLINTNEXTLINE(misc-no-recursion): LEVELS deep at the most */
static void put_value(lua_State *L, Parcel *p, int at, int levels) {
  const Tensor *tensor = tensor_test(L, at);
  if (tensor != NULL) {
    put_tensor(L, p, tensor);
    return;
  }
  switch (lua_type(L, at)) {
    case LUA_TTABLE:
      put_table(L, p, at, levels);
      break;
    case LUA_TSTRING:
      put_string(L, p, at);
      break;
    case LUA_TNUMBER:
      put_number(L, p, at);
      break;
    case LUA_TBOOLEAN:
      put_boolean(L, p, at);
      break;
    default:
      luaL_error(L, "a %s cannot go from one state to another", luaL_typename(L, at));
  }
}

void parcel_pack(lua_State *L, int from, Parcel *parcel) {
  put_value(L, parcel, lua_absindex(L, from), LEVELS);
}

/* ---- unpacking ---- */

static const char *get(const char *from, void *to, size_t size) {
  memcpy(to, from, size);
  return from + size;
}

static const char *push_tensor(lua_State *L, const char *at) {
  int ndim;
  size_t dim[TENSOR_MAX_DIM];
  at = get(at, &ndim, sizeof ndim);
  at = get(at, dim, sizeof dim);
  Tensor *t = tensor_new(L, ndim, dim);
  return get(at, t->data, t->count * sizeof *t->data);
}

static const char *push_string(lua_State *L, const char *at) {
  size_t length;
  at = get(at, &length, sizeof length);
  lua_pushlstring(L, at, length);
  return at + length;
}

static const char *push_integer(lua_State *L, const char *at) {
  lua_Integer i;
  at = get(at, &i, sizeof i);
  lua_pushinteger(L, i);
  return at;
}

static const char *push_number(lua_State *L, const char *at) {
  lua_Number n;
  at = get(at, &n, sizeof n);
  lua_pushnumber(L, n);
  return at;
}

/* NOLINTNEXTLINE(misc-no-recursion): LEVELS deep at the most */
static const char *push_value(lua_State *L, const char *at) {
  switch (*at++) {
    case TENSOR:
      return push_tensor(L, at);
    case STRING:
      return push_string(L, at);
    case INTEGER:
      return push_integer(L, at);
    case NUMBER:
      return push_number(L, at);
    case BOOLEAN:
      lua_pushboolean(L, *at);
      return at + 1;
    default:
      break; /* a table */
  }
  luaL_checkstack(L, 4, NULL);
  lua_newtable(L);
  while (*at != END) {
    at = push_value(L, at);
    at = push_value(L, at);
    lua_rawset(L, -3);
  }
  return at + 1;
}

void parcel_unpack(lua_State *L, const Parcel *parcel) { push_value(L, parcel->bytes); }

void parcel_free(Parcel *parcel) {
  free(parcel->bytes);
  *parcel = (Parcel){0};
}

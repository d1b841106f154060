/* Tensors: memory, views, checks, and the workspace. */
#include "lua/tensor.h"

#include <lauxlib.h>
#include <string.h>

#include "optim/deferred.h"

#define ALIGNMENT 64

static const char stats_key = 0;
static const char workspace_key = 0;

static bool count_of(int ndim, const size_t *dim, size_t *count) {
  size_t n = 1;
  for (int i = 0; i < ndim; i++)
    if (!checked_mul(n, dim[i], &n)) return false;
  *count = n;
  return true;
}

static void set_shape(Tensor *t, int ndim, const size_t *dim, size_t count) {
  t->ndim = ndim;
  for (int i = 0; i < TENSOR_MAX_DIM; i++) t->dim[i] = i < ndim ? dim[i] : 1;
  t->count = count;
}

static real *align(void *p) {
  uintptr_t u = ((uintptr_t)p + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
  return (real *)u;
}

TensorStats *tensor_stats(lua_State *L) {
  TensorStats *s;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &stats_key) == LUA_TNIL) {
    s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (TensorStats){0};
    lua_rawsetp(L, LUA_REGISTRYINDEX, &stats_key);
  } else {
    s = lua_touserdata(L, -1);
  }
  lua_pop(L, 1);
  return s;
}

static size_t memory_of_lua(lua_State *L) {
  return (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
}

/* Lua lets its memory double before it collects garbage, which is little where objects
 * are small.  Tensors are not: so before one is made that would make the memory a tenth
 * and SLACK more than it was after the last collection here, garbage is collected.  A
 * collection looks at objects, not at their bytes, so it takes milliseconds. */
#define SLACK ((size_t)8 << 20)

static void collect_in_time(lua_State *L, TensorStats *s, size_t bytes) {
  size_t now = memory_of_lua(L);
  if (now < s->kept) s->kept = now;
  if (now + bytes <= s->kept + s->kept / 10 + SLACK || !lua_gc(L, LUA_GCISRUNNING))
    return;
  lua_gc(L, LUA_GCCOLLECT);
  s->kept = memory_of_lua(L);
}

/* Push a userdata of `head` bytes followed by `count` aligned reals. */
static void *new_block(lua_State *L, size_t head, size_t count, int nuv) {
  size_t bytes;
  if (!checked_mul(count, sizeof(real), &bytes) ||
      !checked_add(bytes, head + ALIGNMENT, &bytes) || bytes > PTRDIFF_MAX) {
    luaL_error(L, "tensor too large: its size in bytes overflows");
    return NULL;
  }
  TensorStats *stats = tensor_stats(L);
  collect_in_time(L, stats, bytes);
  void *p = lua_newuserdatauv(L, bytes, nuv);
  stats->count++;
  stats->bytes += (lua_Integer)bytes;
  return p;
}

Tensor *tensor_new(lua_State *L, int ndim, const size_t *dim) {
  size_t count;
  if (!count_of(ndim, dim, &count)) {
    tensor_push_shape(L, ndim, dim);
    luaL_error(L, "tensor too large: %s overflows", lua_tostring(L, -1));
    return NULL;
  }
  Tensor *t = new_block(L, sizeof *t, count, TENSOR_UV_COUNT);
  set_shape(t, ndim, dim, count);
  t->data = align(t + 1);
  t->param = NULL;
  luaL_setmetatable(L, TENSOR_TYPE);
  return t;
}

Tensor *tensor_zeros(lua_State *L, int ndim, const size_t *dim) {
  Tensor *t = tensor_new(L, ndim, dim);
  memset(t->data, 0, t->count * sizeof(real));
  return t;
}

Tensor *tensor_like(lua_State *L, const Tensor *t) {
  return tensor_new(L, t->ndim, t->dim);
}

Tensor *tensor_view(lua_State *L, int owner, int ndim, const size_t *dim, size_t offset) {
  owner = lua_absindex(L, owner);
  int top = lua_gettop(L) + 1;
  Tensor *base = tensor_check(L, owner);
  size_t count, end;
  if (!count_of(ndim, dim, &count) || !checked_add(offset, count, &end) ||
      end > base->count) {
    luaL_error(L, "view lies outside its tensor of %I numbers", (LUAI_UACINT)base->count);
    return NULL;
  }
  Tensor *t = lua_newuserdatauv(L, sizeof *t, TENSOR_UV_COUNT);
  set_shape(t, ndim, dim, count);
  t->data = base->data + offset;
  t->param = base->param;
  /* A view of a view keeps the numbers alive, and the view between only if a parameter
   * wants to know that somebody looks. */
  bool direct = lua_getiuservalue(L, owner, TENSOR_UV_PARAM) == LUA_TUSERDATA ||
                lua_getiuservalue(L, owner, TENSOR_UV_BASE) != LUA_TUSERDATA;
  if (direct) lua_pushvalue(L, owner);
  lua_setiuservalue(L, top, TENSOR_UV_BASE);
  lua_settop(L, top);
  luaL_setmetatable(L, TENSOR_TYPE);
  return t;
}

void tensor_belongs_to(lua_State *L, int owner, Param *param) {
  Tensor *t = lua_touserdata(L, -1);
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, TENSOR_UV_PARAM);
  t->param = param;
}

static Tensor *settled(Tensor *t) {
  if (t != NULL && t->param != NULL) param_settle(t->param);
  return t;
}

Tensor *tensor_test(lua_State *L, int arg) {
  return settled(luaL_testudata(L, arg, TENSOR_TYPE));
}

Tensor *tensor_check(lua_State *L, int arg) {
  return settled(luaL_checkudata(L, arg, TENSOR_TYPE));
}

bool tensor_same_shape(const Tensor *a, const Tensor *b) {
  return a->ndim == b->ndim && memcmp(a->dim, b->dim, sizeof a->dim) == 0;
}

bool tensor_overlap(const Tensor *a, const Tensor *b) {
  uintptr_t a0 = (uintptr_t)a->data, a1 = (uintptr_t)(a->data + a->count);
  uintptr_t b0 = (uintptr_t)b->data, b1 = (uintptr_t)(b->data + b->count);
  return a0 < b1 && b0 < a1;
}

Tensor *tensor_check_shape(lua_State *L, int arg, int ndim, const size_t *dim) {
  Tensor *t = tensor_check(L, arg);
  bool ok = t->ndim == ndim;
  for (int i = 0; ok && i < ndim; i++) ok = dim[i] == 0 || dim[i] == t->dim[i];
  if (!ok) {
    const char *want = tensor_push_shape(L, ndim, dim);
    const char *got = tensor_push_shape(L, t->ndim, t->dim);
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "tensor of shape %s expected, got %s", want, got));
  }
  return t;
}

const char *tensor_push_shape(lua_State *L, int ndim, const size_t *dim) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int i = 0; i < ndim; i++) {
    char text[24];
    if (i > 0) luaL_addchar(&b, 'x');
    if (dim[i] == 0) {
      luaL_addchar(&b, '?'); /* "any size" in an expectation */
      continue;
    }
    lua_Unsigned v = (lua_Unsigned)dim[i];
    int n = 0;
    do text[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    while (n > 0) luaL_addchar(&b, text[--n]);
  }
  luaL_pushresult(&b);
  return lua_tostring(L, -1);
}

static size_t check_dim(lua_State *L, int arg, int index, int at) {
  int is_int;
  lua_Integer v = lua_tointegerx(L, index, &is_int);
  if (!is_int || v < 1)
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "dimension %d must be a positive integer, got %s", at,
                        lua_type(L, index) == LUA_TNUMBER ? luaL_tolstring(L, index, NULL)
                                                          : luaL_typename(L, index)));
  return (size_t)v;
}

int tensor_check_dims(lua_State *L, int arg, size_t dim[TENSOR_MAX_DIM]) {
  return tensor_check_dims_to(L, arg, lua_gettop(L), dim);
}

int tensor_check_dims_to(lua_State *L, int arg, int last, size_t dim[TENSOR_MAX_DIM]) {
  bool list = lua_istable(L, arg);
  if (list && last > arg)
    luaL_argerror(
        L, arg + 1,
        lua_pushfstring(L, "nothing expected after the list of dimensions, got %s",
                        luaL_typename(L, arg + 1)));
  lua_Integer n = list ? (lua_Integer)lua_rawlen(L, arg) : last - arg + 1;
  if (n < 1 || n > TENSOR_MAX_DIM)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "1 to %d dimensions expected, got %I",
                                  TENSOR_MAX_DIM, (LUAI_UACINT)n));
  for (int i = 0; i < (int)n; i++) {
    if (list) {
      lua_rawgeti(L, arg, i + 1);
      dim[i] = check_dim(L, arg, -1, i + 1);
      lua_pop(L, 1);
    } else {
      dim[i] = check_dim(L, arg + i, arg + i, i + 1);
    }
  }
  return (int)n;
}

typedef struct Workspace {
  size_t count;
} Workspace;

real *tensor_workspace(lua_State *L, size_t count) {
  Workspace *w = NULL;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &workspace_key) != LUA_TNIL)
    w = lua_touserdata(L, -1);
  if (w == NULL || w->count < count) {
    w = new_block(L, sizeof *w, count, 0);
    w->count = count;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &workspace_key);
  }
  lua_pop(L, 1);
  return align(w + 1);
}

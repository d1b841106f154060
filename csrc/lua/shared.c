/* Binding of optim/shared.c: gradients as tensors that can be sent to other processes. */
#include "optim/shared.h"

#include <lauxlib.h>
#include <math.h>

#include "base/threads.h"
#include "io/crc32c.h"
#include "lua/class.h"
#include "lua/open.h"
#include "lua/param.h"
#include "lua/tensor.h"
#include "optim/deferred.h"

#define FACTORS_TYPE "cglow.GradientFactors"
#define FLAT_TYPE "cglow.GradientFlat"

/*** @submodule cglow.core */

enum { UV_PARAMS = 1, UV_OWN, UV_ALL, UV_COUNT = 3 };

/* Far more parameters than any model has, and processes; no size overflows with them. */
#define PARAMS_MAX ((size_t)1 << 20)
#define PROCESSES_MAX 65536

typedef struct Factors {
  size_t count, n, processes, size, largest;
  real *own;
  const real *all;
  SharedFactors slot[];
} Factors;

/* Behind the gradients the tensor has a number for each: what none of it exceeds.  Their
 * sum is what none of the sum exceeds, so nobody needs to look through that (Param). */
typedef struct Flat {
  size_t count, bounds; /* where those numbers begin */
  real *numbers;
  Param *param[];
} Flat;

static size_t check_list(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t n = lua_rawlen(L, 1);
  if (n < 1 || n > PARAMS_MAX)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "list of 1 to 2^20 parameters expected, got %I",
                                  (LUAI_UACINT)n));
  return n;
}

static size_t check_count(lua_State *L, int arg, lua_Integer most) {
  lua_Integer n = luaL_checkinteger(L, arg);
  if (n < 1 || n > most)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "an integer from 1 to %I expected, got %I",
                                  (LUAI_UACINT)most, (LUAI_UACINT)n));
  return (size_t)n;
}

/* A new list of the parameters at index 1 becomes the user value of the object on top. */
static void keep_params(lua_State *L, size_t count) {
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    param_push_listed(L, (lua_Integer)i + 1);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setiuservalue(L, -2, UV_PARAMS);
}

/* Raise an error that names the parameter of this slot of the object at index 1. */
static int refuse(lua_State *L, size_t slot, const char *why) {
  lua_getiuservalue(L, 1, UV_PARAMS);
  lua_rawgeti(L, -1, (lua_Integer)slot + 1);
  lua_getfield(L, -1, "name");
  return luaL_error(L, "the gradient of '%s' %s", lua_tostring(L, -1), why);
}

/***
Is the gradient of a parameter an outer product of as many rows as there are samples?
Those of fully connected layers' weights are, and are kept as their factors.
@function is_outer_product
@tparam Param p
@treturn boolean
*/
static int is_outer_product(lua_State *L) {
  lua_pushboolean(L, param_check(L, 1)->defers);
  return 1;
}

/***
A checksum (CRC-32C) of the numbers of parameters, one after the other: equal numbers have
equal ones, and others nearly never.
@function checksum
@tparam {Param,...} params
@treturn integer from 0 to 2^32 − 1
*/
static int checksum(lua_State *L) {
  size_t count = check_list(L);
  uint32_t crc = 0;
  for (size_t i = 0; i < count; i++) {
    Param *p = param_push_listed(L, (lua_Integer)i + 1);
    crc = crc32c(crc, param_value(p), p->count * sizeof *p->value);
    lua_pop(L, 1);
  }
  lua_pushinteger(L, crc);
  return 1;
}

/* ---- factors ------------------------------------------------------------------ */

/***
The factors of gradients of n samples in each of several processes: each packs its own,
gets all, and unpacks them; then the gradients are those of all samples.
@function gradient_factors
@tparam {Param,...} params for all of which `is_outer_product` is true
@tparam integer n samples in each process
@tparam integer processes
@treturn GradientFactors
*/
static int new_factors(lua_State *L) {
  size_t count = check_list(L), n = check_count(L, 2, 1 << 20);
  size_t processes = check_count(L, 3, PROCESSES_MAX);
  lua_settop(L, 3);
  Factors *f = lua_newuserdatauv(L, sizeof *f + count * sizeof *f->slot, UV_COUNT);
  *f = (Factors){.n = n, .processes = processes};
  luaL_setmetatable(L, FACTORS_TYPE);
  keep_params(L, count);
  for (size_t i = 0; i < count; i++) {
    f->slot[i].param = param_push_listed(L, (lua_Integer)i + 1);
    if (!f->slot[i].param->defers) {
      lua_getfield(L, -1, "name");
      return luaL_argerror(
          L, 1,
          lua_pushfstring(L,
                          "element [%d]: a fully connected layer's weight "
                          "expected, got '%s'",
                          (int)i + 1, lua_tostring(L, -1)));
    }
    lua_pop(L, 1);
  }
  f->size = factors_layout(f->slot, count, n);
  f->largest = factors_largest(f->slot, count, n * processes);
  Tensor *own = tensor_zeros(L, 1, &f->size);
  lua_setiuservalue(L, 4, UV_OWN);
  Tensor *all = tensor_zeros(L, 2, (size_t[]){processes, f->size});
  lua_setiuservalue(L, 4, UV_ALL);
  f->own = own->data;
  f->all = all->data;
  f->count = count;
  return 1;
}

static Factors *check_factors(lua_State *L) {
  return luaL_checkudata(L, 1, FACTORS_TYPE);
}

/***
What is sent and what comes.
@function GradientFactors:tensors
@treturn Tensor this process's factors
@treturn Tensor processes × as many: those of all
*/
static int factors_tensors(lua_State *L) {
  check_factors(L);
  lua_getiuservalue(L, 1, UV_OWN);
  lua_getiuservalue(L, 1, UV_ALL);
  return 2;
}

static Tensor *check_numbers(lua_State *L, int arg, size_t count) {
  Tensor *t = tensor_check(L, arg);
  if (t->count != count)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "a tensor of %I numbers expected, got %I",
                                  (LUAI_UACINT)count, (LUAI_UACINT)t->count));
  return t;
}

/***
Use other tensors from now on, which other processes may see.
@function GradientFactors:lie_in
@tparam Tensor own as many numbers as the one that is used now
@tparam Tensor all as many as all processes' together
*/
static int factors_lie_in(lua_State *L) {
  Factors *f = check_factors(L);
  lua_settop(L, 3);
  real *own = check_numbers(L, 2, f->size)->data;
  f->all = check_numbers(L, 3, f->size * f->processes)->data;
  f->own = own;
  lua_setiuservalue(L, 1, UV_ALL);
  lua_setiuservalue(L, 1, UV_OWN);
  return 0;
}

/***
To be called when the gradients count as zero, before they are computed: they will be kept
as factors although Lua may have seen them. Whoever holds a `p.grad` asks for it anew.
@function GradientFactors:begin
*/
static int factors_begin(lua_State *L) {
  Factors *f = check_factors(L);
  bool keep = f->n * f->processes <= PARAM_MAX_PENDING;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, UV_PARAMS);
  for (size_t i = 0; i < f->count; i++) {
    Param *p = f->slot[i].param;
    lua_rawgeti(L, 2, (lua_Integer)i + 1);
    param_end_look(L, 3);
    param_zero_grad(p);
    if (keep)
      param_prepare(L, 3, f->n * f->processes, true);
    else
      param_ensure_grad(L, 3);
    lua_pop(L, 1);
  }
  return 0;
}

/***
Write this process's factors into its tensor.
@function GradientFactors:pack
@tparam number scale what the gradients are multiplied by, e.g. 1/processes for a mean
@raise when a gradient is none of n samples
*/
static int factors_pack_all(lua_State *L) {
  const Factors *f = check_factors(L);
  lua_Number scale = luaL_checknumber(L, 2);
  size_t bad = factors_pack(f->slot, f->count, f->n, (real)scale, f->own);
  if (bad < f->count)
    return refuse(L, bad, "is no outer product of as many samples as were announced");
  return 0;
}

/***
Make the gradients those of all processes' samples.
@function GradientFactors:unpack
*/
static int factors_unpack_all(lua_State *L) {
  const Factors *f = check_factors(L);
  lua_settop(L, 1);
  real *scratch = tensor_workspace(L, f->largest);
  for (size_t i = 0; i < f->count; i++) {
    Param *p = f->slot[i].param;
    param_settle(p);
    bool room = f->n * f->processes <= PARAM_MAX_PENDING
                    ? p->pending_room >= f->n * f->processes
                    : p->grad != NULL;
    if (!room || p->exposed) return refuse(L, i, "was touched since begin");
  }
  factors_unpack(f->slot, f->count, f->n, f->processes, f->size, f->all, scratch,
                 parallel_threads());
  return 0;
}

/* ---- dense gradients ------------------------------------------------------------ */

/* Let the gradients of the object at idx lie in the tensor on top of the stack, which
 * becomes its user value. */
static void move_gradients(lua_State *L, Flat *f, int idx) {
  int tensor = lua_gettop(L);
  lua_getiuservalue(L, idx, UV_PARAMS);
  for (size_t i = 0, at = 0; i < f->count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    param_move_grad(L, -1, tensor, at);
    lua_pop(L, 1);
    at += round_up(f->param[i]->count);
  }
  lua_pop(L, 1);
  f->numbers = ((const Tensor *)lua_touserdata(L, tensor))->data;
  lua_setiuservalue(L, idx, UV_OWN);
}

/***
The dense gradients of parameters as one flat tensor, in which they lie from now on.
@function gradient_flat
@tparam {Param,...} params
@treturn GradientFlat
*/
static int new_flat(lua_State *L) {
  size_t count = check_list(L), size = 0;
  lua_settop(L, 1);
  Flat *f = lua_newuserdatauv(L, sizeof *f + count * sizeof(Param *), UV_COUNT);
  f->count = 0;
  luaL_setmetatable(L, FLAT_TYPE);
  keep_params(L, count);
  for (size_t i = 0; i < count; i++) {
    f->param[i] = param_push_listed(L, (lua_Integer)i + 1);
    lua_pop(L, 1);
    if (!checked_add(size, round_up(f->param[i]->count), &size))
      return luaL_error(L, "gradients too large: their size overflows");
  }
  f->bounds = size;
  size += round_up(count);
  f->count = count;
  tensor_zeros(L, 1, &size);
  move_gradients(L, f, 2);
  return 1;
}

static Flat *check_flat(lua_State *L) { return luaL_checkudata(L, 1, FLAT_TYPE); }

/***
The flat tensor; numbers between the parameters are 0. Behind them it has for each a
number that nothing in its gradient exceeds, as far as that is known, or infinity.
@function GradientFlat:tensor
@treturn Tensor
*/
static int flat_tensor(lua_State *L) {
  check_flat(L);
  lua_getiuservalue(L, 1, UV_OWN);
  return 1;
}

/***
Let the gradients lie in another tensor from now on, which other processes may see.
@function GradientFlat:lie_in
@tparam Tensor flat as many numbers as the one that is used now; zeros
*/
static int flat_lie_in(lua_State *L) {
  Flat *f = check_flat(L);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, UV_OWN);
  check_numbers(L, 2, tensor_check(L, -1)->count);
  lua_settop(L, 2);
  move_gradients(L, f, 1);
  return 0;
}

/***
See that the tensor holds the gradients, also those that count as zero or are kept as
factors.
@function GradientFlat:complete
*/
static int flat_complete(lua_State *L) {
  const Flat *f = check_flat(L);
  for (size_t i = 0; i < f->count; i++) {
    Param *p = f->param[i];
    bool zero = p->pending == 0 && !p->dense;
    if (p->pending > 0 || !p->dense) param_materialise(p);
    f->numbers[f->bounds + i] = zero ? 0 : p->exposed ? (real)HUGE_VAL : p->largest;
    p->largest =
        (real)HUGE_VAL; /* the gradients may be written through the flat tensor */
  }
  return 0;
}

/***
To be called when the tensor has become the sum of several processes' tensors, scaled or
not.
@function GradientFlat:arrive
*/
static int flat_arrive(lua_State *L) {
  const Flat *f = check_flat(L);
  for (size_t i = 0; i < f->count; i++) f->param[i]->largest = f->numbers[f->bounds + i];
  return 0;
}

static const luaL_Reg factors_methods[] = {
    {"tensors", factors_tensors},   {"lie_in", factors_lie_in},
    {"begin", factors_begin},       {"pack", factors_pack_all},
    {"unpack", factors_unpack_all}, {NULL, NULL}};
static const luaL_Reg flat_methods[] = {{"tensor", flat_tensor},
                                        {"lie_in", flat_lie_in},
                                        {"complete", flat_complete},
                                        {"arrive", flat_arrive},
                                        {NULL, NULL}};
static const luaL_Reg functions[] = {{"is_outer_product", is_outer_product},
                                     {"gradient_factors", new_factors},
                                     {"gradient_flat", new_flat},
                                     {"checksum", checksum},
                                     {NULL, NULL}};

void open_shared(lua_State *L) {
  class_new(L, FACTORS_TYPE, factors_methods);
  class_new(L, FLAT_TYPE, flat_methods);
  luaL_setfuncs(L, functions, 0);
}

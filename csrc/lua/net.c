/* Binding of nn/net.c: the class "cglow.Net". */
#include "lua/net.h"

#include <lauxlib.h>
#include <string.h>

#include "base/threads.h"
#include "lua/class.h"
#include "lua/guard.h"
#include "lua/open.h"
#include "lua/param.h"
#include "lua/reuse.h"

/*** Networks in C. `cglow.nn` makes them.
@module cglow.Net */

const char *const net_roles[NET_ROLES] = {"weight", "bias", "logs"};

static Net *net_check(lua_State *L, int arg) { return luaL_checkudata(L, arg, NET_TYPE); }

/* ---- parameters ---- */

/* Push the table {weight=, bias=, logs=} of node i. */
static void push_roles(lua_State *L, int idx, size_t i) {
  lua_getiuservalue(L, idx, NET_LAYERS);
  lua_rawgeti(L, -1, (lua_Integer)i + 1);
  if (lua_rawgeti(L, -1, 2) == LUA_TTABLE) {
    lua_replace(L, -3);
    lua_pop(L, 1);
  } else {
    lua_pop(L, 1);
    lua_remove(L, -2);
  }
}

static void rename_param(lua_State *L, int names, size_t i, const char *prefix,
                         const char *role) {
  bool named = lua_rawgeti(L, names, (lua_Integer)i + 1) == LUA_TSTRING;
  if (named)
    lua_pushfstring(L, "%s%s.%s", prefix, lua_tostring(L, -1), role);
  else
    lua_pushfstring(L, "%s%s", prefix, role);
  lua_setfield(L, -3, "name");
  lua_pop(L, 1);
}

/*** The network's parameters, in the order of its layers.
@function Net:parameters
@string[opt] prefix when given, each parameter is renamed to prefix .. its place
in this network, e.g. `conv1.weight`
@treturn {Param,...} */
static int parameters(lua_State *L) {
  Net *net = net_check(L, 1);
  const char *prefix = luaL_optstring(L, 2, NULL);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, NET_NAMES);
  lua_newtable(L);
  lua_Integer count = 0;
  for (size_t i = 0; i < net->count; i++) {
    push_roles(L, 1, i);
    for (int r = 0; r < NET_ROLES; r++) {
      if (lua_getfield(L, 5, net_roles[r]) == LUA_TNIL) {
        lua_pop(L, 1);
        continue;
      }
      if (prefix != NULL) rename_param(L, 3, i, prefix, net_roles[r]);
      lua_rawseti(L, 4, ++count);
    }
    lua_pop(L, 1);
  }
  return 1;
}

/* ---- running ---- */

static Shape shape_of(lua_State *L, const Tensor *x, int arg) {
  if (x->ndim == 2) return (Shape){x->dim[1], 1, 1, true};
  if (x->ndim != 4) {
    const char *got = tensor_push_shape(L, x->ndim, x->dim);
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "tensor NxCxHxW or NxF expected, got %s", got));
  }
  return (Shape){x->dim[1], x->dim[2], x->dim[3], false};
}

Tensor *net_prepare_forward(lua_State *L, int idx, int arg) {
  idx = lua_absindex(L, idx);
  Net *net = lua_touserdata(L, idx);
  Tensor *x = lua_touserdata(L, arg);
  Shape in = shape_of(L, x, arg);
  char why[NET_WHY];
  guard_count(L); /* others of this network's passes must not go on with this plan */
  if (!net_plan(net, x->dim[0], &in, why)) luaL_argerror(L, arg, lua_pushstring(L, why));
  net->runs++;
  net->ran = false;
  lua_pushvalue(L, arg);
  lua_setiuservalue(L, idx, NET_INPUT);
  if (net->arena > 0) {
    lua_getiuservalue(L, idx, NET_ARENA);
    Tensor *arena = tensor_test(L, -1);
    if (arena == NULL || arena->count < net->arena) {
      tensor_new(L, 1, &net->arena);
      lua_setiuservalue(L, idx, NET_ARENA);
    }
    lua_pop(L, 1);
  }
  Shape s = net->out_shape;
  size_t dim[4] = {net->n, s.c, s.h, s.w};
  return reuse_tensor(L, idx, NET_OUTPUT, s.flat ? 2 : 4, dim);
}

Tensor *net_output(lua_State *L, int idx) {
  lua_getiuservalue(L, idx, NET_OUTPUT);
  return tensor_test(L, -1);
}

real *net_arena(lua_State *L, int idx) {
  lua_getiuservalue(L, idx, NET_ARENA);
  Tensor *arena = tensor_test(L, -1);
  lua_pop(L, 1);
  return arena ? arena->data : NULL;
}

/* A layer that stands in several places adds several gradients to its weight,
 * of which only one can be kept as an outer product. */
static bool occurs_before(const Net *net, size_t i) {
  for (size_t k = 0; k < i; k++)
    if (net->node[k].layer == net->node[i].layer) return true;
  return false;
}

static bool ready(const Param *p, size_t n, bool outer) {
  return p == NULL || param_ready(p, n, outer);
}

void net_prepare_backward(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  Net *net = lua_touserdata(L, idx);
  for (size_t i = 0; i < net->count; i++) {
    Layer *l = net->node[i].layer;
    bool outer = l->ops->outer && !occurs_before(net, i);
    if (ready(l->weight, net->n, outer) && ready(l->bias, net->n, false) &&
        ready(l->logs, net->n, false))
      continue;
    push_roles(L, idx, i); /* Lua takes ten times as long as that question */
    for (int r = 0; r < NET_ROLES; r++) {
      if (lua_getfield(L, -1, net_roles[r]) != LUA_TNIL)
        param_prepare(L, -1, net->n, outer && r == 0);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
}

/*** Run the network.
@function Net:forward
@tparam Tensor x N×C×H×W, or N×F for networks that begin with a linear layer
@treturn Tensor the output, owned by the network: the next forward overwrites
it, so clone it to keep it */
static int forward(lua_State *L) {
  Net *net = net_check(L, 1);
  Tensor *x = tensor_check(L, 2);
  lua_settop(L, 2);
  lua_Integer runs = guard_runs(L);
  Tensor *out = net_prepare_forward(L, 1, 2);
  real *arena = net_arena(L, 1);
  int threads = parallel_threads();
  real *scratch = tensor_workspace(L, net_forward_scratch(net, threads));
  net->ran = false;
  guard_enter(L, runs + 1, "forward"); /* its own plan was one */
  net_forward(net, x->data, out->data, arena, NULL, scratch, threads);
  return 1;
}

/*** Back-propagate through the last `forward`: adds to every parameter's
gradient.
@function Net:backward
@tparam Tensor dout gradient with respect to the output, of its shape
@bool[opt=true] want_din false saves the work for the input's gradient
@treturn Tensor gradient with respect to x, owned by the network (nil when not
wanted) */
static int backward(lua_State *L) {
  Net *net = net_check(L, 1);
  Tensor *dout = tensor_check(L, 2);
  bool want = lua_isnoneornil(L, 3) || lua_toboolean(L, 3);
  lua_settop(L, 2);
  lua_Integer runs = guard_runs(L);
  if (!net->ran) return luaL_error(L, "backward: call forward first");
  lua_getiuservalue(L, 1, NET_INPUT);
  Tensor *x = tensor_check(L, -1);
  Tensor *out = net_output(L, 1);
  tensor_check_shape(L, 2, out->ndim, out->dim);
  real *din = NULL;
  if (want)
    din = reuse_tensor(L, 1, NET_DINPUT, x->ndim, x->dim)->data;
  else
    lua_pushnil(L);
  net_prepare_backward(L, 1);
  int threads = parallel_threads();
  real *scratch = tensor_workspace(L, net_backward_scratch(net, threads));
  guard_enter(L, runs, "backward");
  net->runs++;
  const Ranges none = {0};
  net_backward(net, dout->data, din, net_arena(L, 1), NULL, &none, scratch, threads);
  return 1;
}

/*** What comes out for a given input shape, without running.
@function Net:output_shape
@tparam {int,...} shape of one sample: {C, H, W} or {F}
@treturn {int,...} shape of one output sample, or nil and the reason */
static int output_shape(lua_State *L) {
  Net *net = net_check(L, 1);
  size_t dim[TENSOR_MAX_DIM];
  luaL_checktype(L, 2, LUA_TTABLE);
  int n = tensor_check_dims(L, 2, dim);
  if (n != 1 && n != 3)
    luaL_argerror(L, 2, lua_pushfstring(L, "{C, H, W} or {F} expected, got %d sizes", n));
  Shape in =
      n == 1 ? (Shape){dim[0], 1, 1, true} : (Shape){dim[0], dim[1], dim[2], false};
  Shape s;
  char why[NET_WHY];
  if (!net_output_shape(net, 1, &in, &s, why)) {
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
  }
  size_t out[3] = {s.c, s.h, s.w};
  int m = s.flat ? 1 : 3;
  lua_createtable(L, m, 0);
  for (int i = 0; i < m; i++) {
    lua_pushinteger(L, (lua_Integer)out[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static void describe(lua_State *L, const Layer *l) {
  char text[LAYER_WHY] = "";
  if (l->ops->describe != NULL) l->ops->describe(l, text);
  lua_pushfstring(L, "%s%s", l->ops->kind, text);
}

static int net_tostring(lua_State *L) {
  Net *net = net_check(L, 1);
  luaL_Buffer b;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, NET_NAMES);
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "cglow.Net");
  for (size_t i = 0; i < net->count; i++) {
    luaL_addstring(&b, net->count > 1 ? "\n  " : " ");
    if (lua_rawgeti(L, 2, (lua_Integer)i + 1) == LUA_TSTRING) {
      lua_pushliteral(L, ": ");
      lua_concat(L, 2);
      luaL_addvalue(&b);
    } else {
      lua_pop(L, 1);
    }
    describe(L, net->node[i].layer);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  return 1;
}

static const luaL_Reg methods[] = {
    {"forward", forward},         {"backward", backward},
    {"parameters", parameters},   {"output_shape", output_shape},
    {"__tostring", net_tostring}, {NULL, NULL}};

void open_net(lua_State *L) { class_new(L, NET_TYPE, methods); }

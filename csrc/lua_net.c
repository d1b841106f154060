#include "lua_net.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "lua_param.h"
#include "open.h"
#include "owned.h"
#include "parallel.h"

/*** Networks in C. `cglow.nn` makes them.
@module cglow.Net */

/* A network's user values.  LAYERS: list whose entry i keeps node i's layer
 * alive (its parameters by role for a layer of its own, or the network that it
 * came from).  NAMES: list of node names. */
enum { UV_LAYERS = 1, UV_NAMES, UV_INPUT, UV_ARENA, UV_OUTPUT, UV_DINPUT, UV_COUNT = 6 };

/* A network of one layer carries that layer behind its only node. */
typedef struct Single {
  Net net;
  NetNode node;
  Layer layer;
} Single;

static const char *const roles[] = {"weight", "bias", "logs"};

static Param **role_slot(Layer *l, int role) {
  Param **slot[] = {&l->weight, &l->bias, &l->logs};
  return slot[role];
}

Net *net_check(lua_State *L, int arg) { return luaL_checkudata(L, arg, NET_TYPE); }

/* ---- construction ---- */

static void new_lists(lua_State *L, int net) {
  lua_newtable(L);
  lua_setiuservalue(L, net, UV_LAYERS);
  lua_newtable(L);
  lua_setiuservalue(L, net, UV_NAMES);
}

/* Push a network of one layer without parameters. */
static Layer *single_new(lua_State *L, const LayerOps *ops) {
  Single *s = lua_newuserdatauv(L, sizeof *s, UV_COUNT);
  memset(s, 0, sizeof *s);
  s->net.count = 1;
  s->net.node[0].layer = &s->layer;
  s->layer.ops = ops;
  luaL_setmetatable(L, NET_TYPE);
  new_lists(L, lua_gettop(L));
  lua_getiuservalue(L, -1, UV_LAYERS);
  lua_newtable(L);
  lua_rawseti(L, -2, 1);
  lua_pop(L, 1);
  return &s->layer;
}

/* Give the one layer of the network on top of the stack a parameter. */
static void add_param(lua_State *L, Layer *l, int role, int ndim, const size_t *dim) {
  lua_getiuservalue(L, -1, UV_LAYERS);
  lua_rawgeti(L, -1, 1);
  *role_slot(l, role) = param_new(L, roles[role], ndim, dim);
  lua_setfield(L, -2, roles[role]);
  lua_pop(L, 2);
}

static size_t check_size(lua_State *L, int arg, lua_Integer least) {
  lua_Integer v = luaL_checkinteger(L, arg);
  if (v < least || v > INT32_MAX)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "integer from %I to %I expected, got %I",
                                  (LUAI_UACINT)least, (LUAI_UACINT)INT32_MAX,
                                  (LUAI_UACINT)v));
  return (size_t)v;
}

/* conv2d(in, out, kh, kw, sh, sw, ph, pw, bias) */
static int new_conv2d(lua_State *L) {
  size_t v[8];
  for (int i = 0; i < 8; i++) v[i] = check_size(L, i + 1, i < 6 ? 1 : 0);
  bool bias = lua_toboolean(L, 9);
  size_t check;
  if (!checked_mul(v[0], v[2] * v[3], &check) || check > INT32_MAX)
    return luaL_error(L, "conv2d: in x kernel = %d x %d x %d is too large", (int)v[0],
                      (int)v[2], (int)v[3]);
  Layer *l = single_new(L, &layer_conv2d);
  l->in = v[0];
  l->out = v[1];
  l->geometry = (ConvGeometry){v[2], v[3], v[4], v[5], v[6], v[7]};
  add_param(L, l, 0, 4, (size_t[]){v[1], v[0], v[2], v[3]});
  if (bias) add_param(L, l, 1, 1, &v[1]);
  return 1;
}

/* linear(in, out) */
static int new_linear(lua_State *L) {
  size_t in = check_size(L, 1, 1), out = check_size(L, 2, 1);
  Layer *l = single_new(L, &layer_linear);
  l->in = in;
  l->out = out;
  add_param(L, l, 0, 2, (size_t[]){out, in});
  add_param(L, l, 1, 1, &out);
  return 1;
}

/* norm(channels, factor) */
static int new_norm(lua_State *L) {
  size_t c = check_size(L, 1, 1);
  real factor = (real)luaL_checknumber(L, 2);
  luaL_argcheck(L, isfinite(factor), 2, "finite factor expected, got NaN or infinity");
  Layer *l = single_new(L, &layer_norm);
  l->in = l->out = c;
  l->factor = factor;
  add_param(L, l, 1, 1, &c);
  add_param(L, l, 2, 1, &c);
  return 1;
}

/* upsample(factor) */
static int new_upsample(lua_State *L) {
  size_t f = check_size(L, 1, 1);
  single_new(L, &layer_upsample)->geometry = (ConvGeometry){.sh = f, .sw = f};
  return 1;
}

static int new_relu(lua_State *L) { return single_new(L, &layer_relu), 1; }
static int new_tanh(lua_State *L) { return single_new(L, &layer_tanh), 1; }
static int new_sigmoid(lua_State *L) { return single_new(L, &layer_sigmoid), 1; }

/* Copies child's nodes to the network at `net` from node `at` on. */
static size_t append_nodes(lua_State *L, Net *net, int net_idx, size_t at, Net *child,
                           int child_idx, const char *name) {
  lua_getiuservalue(L, net_idx, UV_LAYERS);
  lua_getiuservalue(L, net_idx, UV_NAMES);
  lua_getiuservalue(L, child_idx, UV_LAYERS);
  lua_getiuservalue(L, child_idx, UV_NAMES);
  for (size_t i = 0; i < child->count; i++, at++) {
    net->node[at].layer = child->node[i].layer;
    /* {child, its parameter table}: the first keeps the layer's memory. */
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, child_idx);
    lua_rawseti(L, -2, 1);
    lua_rawgeti(L, -3, (lua_Integer)i + 1);
    if (lua_rawgeti(L, -1, 2) == LUA_TTABLE)
      lua_remove(L, -2);
    else
      lua_pop(L, 1);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -5, (lua_Integer)at + 1);
    const char *inner =
        lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    if (inner != NULL)
      lua_pushfstring(L, "%s.%s", name, inner);
    else
      lua_pushstring(L, name);
    lua_rawseti(L, -5, (lua_Integer)at + 1);
    lua_pop(L, 1);
  }
  lua_pop(L, 4);
  return at;
}

/* Push network i of the list at index 1. */
static Net *push_listed(lua_State *L, lua_Integer i) {
  lua_rawgeti(L, 1, i);
  Net *net = luaL_testudata(L, -1, NET_TYPE);
  if (net == NULL)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "element [%I]: " NET_TYPE " expected, got %s",
                                  (LUAI_UACINT)i, luaL_typename(L, -1)));
  return net;
}

/* sequential({net, …}, {name, …}) */
static int new_sequential(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  size_t count = 0;
  luaL_argcheck(L, n > 0, 1, "at least one network expected, got an empty list");
  luaL_argcheck(L, (size_t)n <= LIST_MAX, 1, "at most 2^20 networks expected");
  luaL_checkstack(L, (int)n + 16, "too many networks");
  for (lua_Integer i = 1; i <= n; i++) count += push_listed(L, i)->count;
  size_t bytes = sizeof(Net) + count * sizeof(NetNode);
  Net *net = lua_newuserdatauv(L, bytes, UV_COUNT);
  memset(net, 0, bytes);
  luaL_setmetatable(L, NET_TYPE);
  int idx = lua_gettop(L);
  new_lists(L, idx);
  size_t at = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, 2, i) != LUA_TSTRING)
      luaL_argerror(L, 2,
                    lua_pushfstring(L, "element [%I]: name expected, got %s", (LUAI_UACINT)i,
                                    luaL_typename(L, -1)));
    at = append_nodes(L, net, idx, at, lua_touserdata(L, (int)i + 2), (int)i + 2,
                      lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  net->count = count;
  return 1;
}

/* ---- parameters ---- */

/* Push the table {weight=, bias=, logs=} of node i. */
static void push_roles(lua_State *L, int idx, size_t i) {
  lua_getiuservalue(L, idx, UV_LAYERS);
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
  lua_getiuservalue(L, 1, UV_NAMES);
  lua_newtable(L);
  lua_Integer count = 0;
  for (size_t i = 0; i < net->count; i++) {
    push_roles(L, 1, i);
    for (int r = 0; r < 3; r++) {
      if (lua_getfield(L, 5, roles[r]) == LUA_TNIL) {
        lua_pop(L, 1);
        continue;
      }
      if (prefix != NULL) rename_param(L, 3, i, prefix, roles[r]);
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
  if (!net_plan(net, x->dim[0], &in, why)) luaL_argerror(L, arg, lua_pushstring(L, why));
  size_t uses = ++net->uses;
  net->ran = false;
  lua_pushvalue(L, arg);
  lua_setiuservalue(L, idx, UV_INPUT);
  if (net->arena > 0) {
    lua_getiuservalue(L, idx, UV_ARENA);
    Tensor *arena = tensor_test(L, -1);
    if (arena == NULL || arena->count < net->arena) {
      tensor_new(L, 1, &net->arena);
      lua_setiuservalue(L, idx, UV_ARENA);
    }
    lua_pop(L, 1);
  }
  Shape s = net->out_shape;
  size_t dim[4] = {net->n, s.c, s.h, s.w};
  Tensor *out = owned_tensor(L, idx, UV_OUTPUT, s.flat ? 2 : 4, dim);
  net_check_undisturbed(L, net, uses, "forward");
  return out;
}

void net_check_undisturbed(lua_State *L, const Net *net, size_t uses, const char *what) {
  if (net->uses != uses)
    luaL_error(L, "%s: a finalizer ran this network while it was about to run", what);
}

Tensor *net_output(lua_State *L, int idx) {
  lua_getiuservalue(L, idx, UV_OUTPUT);
  return tensor_test(L, -1);
}

real *net_arena(lua_State *L, int idx) {
  lua_getiuservalue(L, idx, UV_ARENA);
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
    bool outer = l->ops == &layer_linear && !occurs_before(net, i);
    if (ready(l->weight, net->n, outer) && ready(l->bias, net->n, false) &&
        ready(l->logs, net->n, false))
      continue;
    push_roles(L, idx, i);
    for (int r = 0; r < 3; r++) {
      if (lua_getfield(L, -1, roles[r]) != LUA_TNIL)
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
  Tensor *out = net_prepare_forward(L, 1, 2);
  real *arena = net_arena(L, 1);
  int threads = parallel_threads();
  size_t uses = net->uses;
  real *scratch = tensor_workspace(L, net_forward_scratch(net, threads));
  net_check_undisturbed(L, net, uses, "forward");
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
  if (!net->ran) return luaL_error(L, "backward: call forward first");
  lua_getiuservalue(L, 1, UV_INPUT);
  Tensor *x = tensor_check(L, 3);
  lua_getiuservalue(L, 1, UV_OUTPUT);
  Tensor *out = tensor_check(L, 4);
  tensor_check_shape(L, 2, out->ndim, out->dim);
  size_t uses = ++net->uses;
  real *din = NULL;
  if (want)
    din = owned_tensor(L, 1, UV_DINPUT, x->ndim, x->dim)->data;
  else
    lua_pushnil(L);
  net_prepare_backward(L, 1);
  int threads = parallel_threads();
  real *scratch = tensor_workspace(L, net_backward_scratch(net, threads));
  net_check_undisturbed(L, net, uses, "backward");
  const Spans none = {0};
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
  Shape in = n == 1 ? (Shape){dim[0], 1, 1, true} : (Shape){dim[0], dim[1], dim[2], false};
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
  const ConvGeometry *g = &l->geometry;
  if (l->ops == &layer_conv2d)
    lua_pushfstring(L, "conv2d %d -> %d, %dx%d kernel, stride %dx%d, padding %dx%d%s",
                    (int)l->in, (int)l->out, (int)g->kh, (int)g->kw, (int)g->sh, (int)g->sw,
                    (int)g->ph, (int)g->pw, l->bias ? "" : ", no bias");
  else if (l->ops == &layer_linear)
    lua_pushfstring(L, "linear %d -> %d", (int)l->in, (int)l->out);
  else if (l->ops == &layer_norm)
    lua_pushfstring(L, "norm %d", (int)l->in);
  else if (l->ops == &layer_upsample)
    lua_pushfstring(L, "upsample %dx%d", (int)g->sh, (int)g->sw);
  else
    lua_pushstring(L, l->ops->kind);
}

static int net_tostring(lua_State *L) {
  Net *net = net_check(L, 1);
  luaL_Buffer b;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, UV_NAMES);
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

static const luaL_Reg methods[] = {{"forward", forward},
                                   {"backward", backward},
                                   {"parameters", parameters},
                                   {"output_shape", output_shape},
                                   {"__tostring", net_tostring},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"conv2d", new_conv2d}, {"linear", new_linear},   {"norm", new_norm},
    {"relu", new_relu},     {"tanh", new_tanh},       {"sigmoid", new_sigmoid},
    {"upsample", new_upsample}, {"sequential", new_sequential}, {NULL, NULL}};

void open_net(lua_State *L) {
  luaL_newmetatable(L, NET_TYPE);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  open_bundle(L);
  lua_setfield(L, -2, "net");
}

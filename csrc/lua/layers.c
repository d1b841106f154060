/* How networks come about: of one layer, or of other networks in a row. */
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "lua/check.h"
#include "lua/net.h"
#include "lua/open.h"
#include "lua/param.h"
#include "lua/precision.h"

/* A network of one layer carries that layer behind its only node. */
typedef struct Single {
  Net net;
  NetNode node;
  Layer layer;
} Single;

static Param **role_slot(Layer *l, int role) {
  Param **slot[] = {&l->weight, &l->bias, &l->logs};
  return slot[role];
}

static void new_lists(lua_State *L, int net) {
  lua_newtable(L);
  lua_setiuservalue(L, net, NET_LAYERS);
  lua_newtable(L);
  lua_setiuservalue(L, net, NET_NAMES);
}

/* Push a network of one layer without parameters. */
static Layer *single_new(lua_State *L, const LayerOps *ops) {
  Single *s = lua_newuserdatauv(L, sizeof *s, NET_COUNT);
  memset(s, 0, sizeof *s);
  s->net.count = 1;
  s->net.node[0].layer = &s->layer;
  s->layer.ops = ops;
  luaL_setmetatable(L, NET_TYPE);
  new_lists(L, lua_gettop(L));
  lua_getiuservalue(L, -1, NET_LAYERS);
  lua_newtable(L);
  lua_rawseti(L, -2, 1);
  lua_pop(L, 1);
  return &s->layer;
}

/* Give the one layer of the network on top of the stack a parameter. */
static void add_param(lua_State *L, Layer *l, int role, int ndim, const size_t *dim) {
  lua_getiuservalue(L, -1, NET_LAYERS);
  lua_rawgeti(L, -1, 1);
  *role_slot(l, role) = param_new(L, net_roles[role], ndim, dim);
  lua_setfield(L, -2, net_roles[role]);
  lua_pop(L, 2);
}

static size_t check_size(lua_State *L, int arg, lua_Integer least) {
  lua_Integer v = luaL_checkinteger(L, arg);
  if (v < least || v > INT32_MAX)
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "integer from %I to %I expected, got %I", (LUAI_UACINT)least,
                        (LUAI_UACINT)INT32_MAX, (LUAI_UACINT)v));
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
  l->geometry = (ConvGeometry){v[2], v[3], v[4], v[5], v[6], v[7], precision_in_force(L)};
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
  l->geometry.precision = precision_in_force(L);
  add_param(L, l, 0, 2, (size_t[]){out, in});
  add_param(L, l, 1, 1, &out);
  l->weight->defers = true;
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
  lua_getiuservalue(L, net_idx, NET_LAYERS);
  lua_getiuservalue(L, net_idx, NET_NAMES);
  lua_getiuservalue(L, child_idx, NET_LAYERS);
  lua_getiuservalue(L, child_idx, NET_NAMES);
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
    const char *inner = lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TSTRING
                            ? lua_tostring(L, -1)
                            : NULL;
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
  for (lua_Integer i = 1; i <= n; i++)
    count += ((const Net *)check_listed(L, i, NET_TYPE))->count;
  size_t bytes = sizeof(Net) + count * sizeof(NetNode);
  Net *net = lua_newuserdatauv(L, bytes, NET_COUNT);
  memset(net, 0, bytes);
  luaL_setmetatable(L, NET_TYPE);
  int idx = lua_gettop(L);
  new_lists(L, idx);
  size_t at = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, 2, i) != LUA_TSTRING)
      luaL_argerror(L, 2,
                    lua_pushfstring(L, "element [%I]: name expected, got %s",
                                    (LUAI_UACINT)i, luaL_typename(L, -1)));
    at = append_nodes(L, net, idx, at, lua_touserdata(L, (int)i + 2), (int)i + 2,
                      lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  net->count = count;
  return 1;
}

static const luaL_Reg functions[] = {{"conv2d", new_conv2d},
                                     {"linear", new_linear},
                                     {"norm", new_norm},
                                     {"relu", new_relu},
                                     {"tanh", new_tanh},
                                     {"sigmoid", new_sigmoid},
                                     {"upsample", new_upsample},
                                     {"sequential", new_sequential},
                                     {NULL, NULL}};

void open_layers(lua_State *L) { luaL_setfuncs(L, functions, 0); }

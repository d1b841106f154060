/* Binding of nn/unet.c: "cglow.UNet". */
#include "nn/unet.h"

#include <stdio.h>
#include <string.h>

#include "lua/features.h"
#include "lua/guard.h"
#include "lua/net.h"
#include "lua/noreturn.h"
#include "lua/open.h"
#include "lua/precision.h"

/*** @submodule cglow.Net */

#define UNET_TYPE "cglow.UNet"

/* FLOW_Y: x; FLOW_SAVED: activations; FLOW_Z: list of features by scale;
 * FLOW_DCOND: the gradient of x; FLOW_STORE: for stages. */
enum {
  UNET_X = FLOW_Y,
  UNET_ARENA = FLOW_SAVED,
  UNET_OUT = FLOW_Z,
  UNET_DX = FLOW_DCOND,
  UNET_ROOM = FLOW_STORE
};

typedef struct UNetObject {
  UNet net;
  bool ran;
  size_t next; /* stage of the backward pass, when it goes stage by stage */
} UNetObject;

static UNetObject *check(lua_State *L) { return luaL_checkudata(L, 1, UNET_TYPE); }

/* ---- making one ---- */

static void add_conv(lua_State *L, Layer *l, const char *name) {
  char full[80];
  snprintf(full, sizeof full, "%s.weight", name);
  l->weight = flow_add_param(L, full, 4, (size_t[]){l->out, l->in, 3, 3});
  snprintf(full, sizeof full, "%s.bias", name);
  l->bias = flow_add_param(L, full, 1, &l->out);
}

/* Add a convolution of scale 1, 2, …, called "down.1.conv2", or "merge.1" where `inner`
 * is empty. */
static void add_scale_conv(lua_State *L, Layer *l, const char *stage, size_t s,
                           const char *inner) {
  char name[64];
  snprintf(name, sizeof name, "%s.%d%s", stage, (int)s + 1, inner);
  add_conv(L, l, name);
}

static void add_params(lua_State *L, UNet *u) {
  add_conv(L, &u->stem, "stem");
  for (size_t s = 0; s < u->scales; s++) {
    if (s > 0) add_scale_conv(L, &u->shrink[s], "shrink", s, "");
    add_scale_conv(L, &u->down[s].conv1, "down", s, ".conv1");
    add_scale_conv(L, &u->down[s].conv2, "down", s, ".conv2");
  }
  for (size_t s = u->finest; s + 1 < u->scales; s++) {
    add_scale_conv(L, &u->merge[s], "merge", s, "");
    add_scale_conv(L, &u->up[s].conv1, "up", s, ".conv1");
    add_scale_conv(L, &u->up[s].conv2, "up", s, ".conv2");
  }
}

/* unet(in, {channels of each scale}, finest) */
static int new_unet(lua_State *L) {
  UNet u = {0};
  size_t in = flow_check_size(L, 1, "channels of x", 1, 4096);
  luaL_checktype(L, 2, LUA_TTABLE);
  u.scales = lua_rawlen(L, 2);
  if (u.scales < 1 || u.scales > UNET_SCALES)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "channels of 1 to %d scales expected, got %d",
                                  UNET_SCALES, (int)u.scales));
  for (size_t s = 0; s < u.scales; s++) {
    if (lua_rawgeti(L, 2, (lua_Integer)s + 1) != LUA_TNUMBER ||
        lua_tointeger(L, -1) < 1 || lua_tointeger(L, -1) > 4096)
      luaL_argerror(
          L, 2,
          lua_pushfstring(L, "element [%d]: integer from 1 to 4096 expected, got %s",
                          (int)s + 1, luaL_tolstring(L, -1, NULL)));
    u.channels[s] = (size_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  u.finest = flow_check_size(L, 3, "finest scale", 1, (lua_Integer)u.scales) - 1;
  lua_settop(L, 0);
  UNetObject *o = flow_new(L, UNET_TYPE, sizeof *o);
  o->net = u;
  unet_layers(&o->net, in, precision_in_force(L));
  add_params(L, &o->net);
  return 1;
}

/* ---- running ---- */

/* See that x at index 2 can pass through. */
static Tensor *check_x(lua_State *L, const UNet *u) {
  Tensor *x = flow_check_input(L, 2, u->stem.in);
  size_t unit = (size_t)1 << (u->scales - 1);
  if (x->dim[2] % unit != 0 || x->dim[3] % unit != 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "sides that are multiples of %d expected, got %dx%d",
                                  (int)unit, (int)x->dim[2], (int)x->dim[3]));
  size_t most = 0, pixels = x->dim[0] * x->dim[2] * x->dim[3];
  for (size_t s = 0; s < u->scales; s++)
    if (u->channels[s] > most) most = u->channels[s];
  if (!checked_mul(2 * most, pixels, &pixels) || pixels >= INT32_MAX)
    luaL_argerror(L, 2, "fewer activations expected");
  return x;
}

/* Push the tensor in user value uv, a new one unless it has so many numbers. */
static Tensor *push_memory(lua_State *L, int uv, size_t count) {
  lua_getiuservalue(L, 1, uv);
  Tensor *t = tensor_test(L, -1);
  if (t != NULL && t->count >= count) return t;
  lua_pop(L, 1);
  t = tensor_new(L, 1, &count);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, uv);
  return t;
}

/* Replace the key on top of the stack by the list's tensor of this shape, a new one if
 * it has none, or one that shares numbers with x at index 2: a caller may hand a feature
 * back as x, which backward reads. */
static void push_listed(lua_State *L, int list, int ndim, const size_t *dim) {
  lua_pushvalue(L, -1);
  lua_rawget(L, list);
  const Tensor *t = tensor_test(L, -1);
  if (t == NULL || t->ndim != ndim ||
      memcmp(t->dim, dim, (size_t)ndim * sizeof *dim) != 0 ||
      tensor_overlap(t, tensor_check(L, 2))) {
    lua_pop(L, 1);
    tensor_new(L, ndim, dim);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, list);
  }
  lua_remove(L, -2);
}

/* Push the list of what comes out and its tensors: those of the scales, and pooled. */
static int push_features(lua_State *L, const UNet *u, size_t made) {
  luaL_checkstack(L, UNET_SCALES + 8, "too many scales");
  lua_getiuservalue(L, 1, UNET_OUT);
  if (lua_type(L, -1) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, UNET_OUT);
  }
  int list = lua_gettop(L);
  for (size_t s = u->finest; s < made; s++) {
    lua_pushnil(L);
    lua_rawseti(L, list, (lua_Integer)s);
  }
  for (size_t s = made; s < u->scales; s++) {
    const Act *a = unet_features(u, s);
    lua_pushinteger(L, (lua_Integer)s);
    push_listed(L, list, 4, (size_t[]){a->n, a->c, a->h, a->w});
  }
  lua_pushliteral(L, "pooled");
  push_listed(L, list, 2, (size_t[]){u->n, u->channels[u->scales - 1]});
  return list;
}

/* Fill the tensors that lie above the list. */
static void copy_features(lua_State *L, const UNet *u, int list, int threads) {
  Act to[UNET_SCALES];
  for (size_t s = u->made; s < u->scales; s++)
    to[s] = flow_act(tensor_test(L, list + 1 + (int)(s - u->made)));
  unet_copy_features(u, to, threads);
  unet_pool(u, tensor_test(L, -1)->data);
}

/*** Features of x.
@function UNet:forward
@tparam Tensor x N×C×H×W, sides multiples of 2^(scales − 1)
@bool[opt=true] finest false: x's own scale is not wanted this time, if it is one of those
that the network makes
@treturn {Tensor,...} by index l features at H/2^l × W/2^l, not below 0; index 0 only
where the finest scale was asked for; `pooled`, N×channels, the means over pixels of the
coarsest ones. The list and its tensors belong to the network. */
static int forward(lua_State *L) {
  UNetObject *o = check(L);
  UNet *u = &o->net;
  Tensor *x = check_x(L, u);
  bool all = lua_isnoneornil(L, 3) || lua_toboolean(L, 3);
  size_t made = all || u->finest > 0 || u->scales == 1 ? u->finest : 1;
  lua_settop(L, 2);
  lua_Integer runs = guard_runs(L);
  Act xa = flow_act(x);
  UNet sizes = *u;
  unet_plan(&sizes, x->dim[0], x->dim[2], x->dim[3], NULL);
  int threads = parallel_threads();
  o->ran = false; /* what the last forward kept goes, also when memory is out */
  real *arena = push_memory(L, UNET_ARENA, sizes.arena)->data; /* index 3 */
  int list = push_features(L, &sizes, made);
  real *scratch = tensor_workspace(L, unet_scratch(&sizes, &xa, threads));
  o->ran = false; /* once more: a finalizer may have run forward */
  o->next = 0;
  guard_enter(L, runs, "forward");
  flow_keep_value(L, UNET_X, 2);
  flow_keep_value(L, UNET_ARENA, 3);
  unet_plan(u, x->dim[0], x->dim[2], x->dim[3], arena);
  unet_forward(u, &xa, made, scratch, threads);
  copy_features(L, u, list, threads);
  o->ran = true;
  lua_settop(L, list);
  return 1;
}

/* The gradient of scale s in the list at index 2, or none. */
static Act gradient_of_scale(lua_State *L, const UNet *u, size_t s) {
  Act none = {0};
  const Act *a = unet_features(u, s);
  if (lua_rawgeti(L, 2, (lua_Integer)s) == LUA_TNIL) return none;
  size_t dim[4] = {a->n, a->c, a->h, a->w};
  const Tensor *t = tensor_test(L, -1);
  if (t == NULL || t->ndim != 4 || memcmp(t->dim, dim, sizeof dim) != 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(
                      L, "element [%d]: tensor of shape %s expected, got %s", (int)s,
                      tensor_push_shape(L, 4, dim),
                      t ? tensor_push_shape(L, t->ndim, t->dim) : luaL_typename(L, -1)));
  return flow_act(t);
}

/* The gradient of what is pooled in the list at index 2, or NULL. */
static const real *gradient_of_pooled(lua_State *L, const UNet *u) {
  if (lua_getfield(L, 2, "pooled") == LUA_TNIL) return NULL;
  size_t dim[2] = {u->n, u->channels[u->scales - 1]};
  const Tensor *t = tensor_test(L, -1);
  if (t == NULL || t->ndim != 2 || memcmp(t->dim, dim, sizeof dim) != 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "pooled: tensor of shape %s expected, got %s",
                                  tensor_push_shape(L, 2, dim), luaL_typename(L, -1)));
  return t->data;
}

/* The stage at index 4, from 1 on, or 0: all of them. */
static size_t check_stage(lua_State *L, const UNetObject *o) {
  if (lua_isnoneornil(L, 4)) return 0;
  size_t stage = flow_check_size(L, 4, "stage", 1, (lua_Integer)unet_stages(&o->net));
  if (stage > 1 && stage != o->next + 1)
    luaL_argerror(L, 4,
                  lua_pushfstring(L, "stage %d expected to follow, got %d",
                                  (int)o->next + 1, (int)stage));
  return stage;
}

/* Where a stage, or all of them, may work: kept from stage to stage, or not. */
static void take_room(lua_State *L, const UNet *u, const Act *x, size_t stage,
                      int threads, real **room, real **scratch) {
  if (stage == 0) {
    *room = tensor_workspace(L, unet_scratch(u, x, threads));
    *scratch = *room + unet_room(u);
  } else {
    *room = push_memory(L, UNET_ROOM, unet_room(u))->data;
    *scratch = tensor_workspace(L, unet_layer_scratch(u, x, threads));
  }
}

/*** How many stages the backward pass has: scales on the way up, the finest first, then
scales on the way down, the coarsest first.
@function UNet:stages
@treturn integer
@treturn integer scales */
static int stages(lua_State *L) {
  const UNet *u = &check(L)->net;
  lua_pushinteger(L, (lua_Integer)unet_stages(u));
  lua_pushinteger(L, (lua_Integer)u->scales);
  return 2;
}

/*** Back-propagate through the last `forward`; parameters' gradients grow.
@function UNet:backward
@tparam {Tensor,...} grads gradients of the features, by the same index, and `pooled`;
nil: 0
@bool[opt=false] want_dx
@tparam[opt] integer stage only this one of `stages`, which must follow each other with
the same gradients: then the gradients of its parameters are complete. nil: all
@treturn ?Tensor gradient with respect to x, owned by the network; complete after the
last stage */
static int backward(lua_State *L) {
  UNetObject *o = check(L);
  UNet *u = &o->net;
  luaL_checktype(L, 2, LUA_TTABLE);
  bool want = lua_toboolean(L, 3);
  lua_settop(L, 4);
  lua_Integer runs = guard_runs(L);
  if (!o->ran) return luaL_error(L, "backward: call forward first");
  size_t stage = check_stage(L, o);
  lua_settop(L, 2);
  Act dfeatures[UNET_SCALES] = {{0}}, dx = {0};
  luaL_checkstack(L, UNET_SCALES + 8, "too many scales");
  for (size_t s = u->made; s < u->scales; s++) dfeatures[s] = gradient_of_scale(L, u, s);
  UNetAsked asked = {.features = dfeatures, .pooled = gradient_of_pooled(L, u)};
  Tensor *x = flow_kept(L, UNET_X);
  if (want)
    dx = flow_act(reuse_tensor(L, 1, UNET_DX, 4, x->dim));
  else
    lua_pushnil(L);
  int result = lua_gettop(L);
  lua_getiuservalue(L, 1, UNET_ARENA);
  if (stage <= 1) flow_prepare_params(L);
  Act xa = flow_act(x);
  asked.x = &xa;
  if (want) asked.dx = &dx;
  int threads = parallel_threads();
  real *room, *scratch;
  take_room(L, u, &xa, stage, threads, &room, &scratch);
  guard_enter(L, runs, "backward");
  for (size_t k = stage ? stage - 1 : 0; k < (stage ? stage : unet_stages(u)); k++)
    unet_backward_stage(u, k, &asked, room, scratch, threads);
  o->next = stage < unet_stages(u) ? stage : 0;
  lua_settop(L, result);
  return 1;
}

static int to_string(lua_State *L) {
  const UNet *u = &check(L)->net;
  lua_pushfstring(L, UNET_TYPE " of %d channels to ", (int)u->stem.in);
  for (size_t s = 0; s < u->scales; s++)
    lua_pushfstring(L, s ? ", %d" : "%d", (int)u->channels[s]);
  lua_concat(L, (int)u->scales + 1);
  return 1;
}

static const luaL_Reg methods[] = {{"forward", forward},
                                   {"backward", backward},
                                   {"stages", stages},
                                   {"__tostring", to_string},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {{"unet", new_unet}, {NULL, NULL}};

void open_unet(lua_State *L) {
  flow_class(L, UNET_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}

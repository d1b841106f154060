/* Binding of flow/features.c: "cglow.Features", all that the layers of a level read of
 * the features of x. */
#include "lua/features.h"

#include <math.h>
#include <string.h>

#include "flow/features.h"
#include "lua/guard.h"
#include "lua/open.h"
#include "lua/precision.h"

/*** @submodule cglow.flow */

#define FEATURES_TYPE "cglow.Features"

/* FLOW_Y: u's middle, channel-major; FLOW_COND: u itself, for its shape. */

static Features *check(lua_State *L) { return luaL_checkudata(L, 1, FEATURES_TYPE); }

Tensor *features_check(lua_State *L, int arg, size_t n, const size_t dim[4],
                       size_t *repeat) {
  Tensor *t = tensor_check_shape(L, arg, 4, dim);
  if (n % t->dim[1] != 0)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "features of %d samples cannot serve %d",
                                  (int)t->dim[1], (int)n));
  *repeat = n / t->dim[1];
  return t;
}

real features_check_bound(lua_State *L, int arg) {
  double bound = luaL_optnumber(L, arg, 0);
  if (!(bound >= 0 && bound <= 80))
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "bound from 0 to 80 expected, got %f", bound));
  return (real)bound;
}

/*** What the layers of a level add, from the features of x.
@function Features:forward
@tparam Tensor u N×channels×H×W
@int h height of y at this level: the middle of u counts; H − h even
@int w its width
@treturn Tensor rows×N×h×w, owned by this object */
static int forward(lua_State *L) {
  Features *f = check(L);
  Tensor *u = flow_check_input(L, 2, f->channels);
  size_t h = flow_check_size(L, 3, "height", 1, (lua_Integer)u->dim[2]);
  size_t w = flow_check_size(L, 4, "width", 1, (lua_Integer)u->dim[3]);
  if ((u->dim[2] - h) % 2 != 0 || (u->dim[3] - w) % 2 != 0)
    return luaL_error(L, "features of %dx%d pixels have no middle of %dx%d",
                      (int)u->dim[2], (int)u->dim[3], (int)h, (int)w);
  lua_settop(L, 2);
  lua_Integer runs = guard_runs(L);
  size_t dim[4] = {f->channels, u->dim[0], h, w};
  size_t room;
  if (!checked_mul(f->rows, u->dim[0] * h * w, &room) || room >= INT32_MAX)
    return luaL_error(L, "features for %d rows of %dx%dx%d pixels are too many",
                      (int)f->rows, (int)u->dim[0], (int)h, (int)w);
  flow_keep_value(L, FLOW_COND, 0); /* no backward before this is done */
  Tensor *middle = reuse_tensor(L, 1, FLOW_Y, 4, dim);
  dim[0] = f->rows;
  Tensor *out = reuse_tensor(L, 1, FLOW_Z, 4, dim);
  flow_keep_value(L, FLOW_COND, 0); /* once more: a finalizer may have run forward */
  guard_enter(L, runs, "forward");
  flow_keep_value(L, FLOW_COND, 2);
  Act ua = flow_act(u), ma = features_act(middle), oa = features_act(out);
  int threads = parallel_threads();
  features_crop(&ua, &ma, threads);
  features_forward(f, &ma, &oa, threads);
  return 1;
}

/*** Gradient through the last `forward`.
@function Features:backward
@tparam Tensor dout rows×N×h×w
@treturn Tensor du, N×channels×H×W */
static int backward(lua_State *L) {
  Features *f = check(L);
  lua_settop(L, 2);
  lua_Integer runs = guard_runs(L);
  Tensor *middle = flow_kept(L, FLOW_Y), *u = flow_kept(L, FLOW_COND);
  size_t dim[4] = {f->rows, middle->dim[1], middle->dim[2], middle->dim[3]};
  Tensor *dout = tensor_check_shape(L, 2, 4, dim);
  Tensor *du = reuse_tensor(L, 1, FLOW_DY, 4, u->dim);
  flow_prepare_params(L);
  real *work = tensor_workspace(L, middle->count);
  guard_enter(L, runs, "backward");
  Act ma = features_act(middle), da = features_act(dout), dua = flow_act(du), dm = ma;
  dm.data = work;
  int threads = parallel_threads();
  features_backward(f, &ma, &da, &dm, threads);
  features_uncrop(&dm, &dua, threads);
  return 1;
}

/*** One 1×1 convolution of the features of x for all layers of a level.
@function features
@int channels of the features
@string name of the first part's parameter
@int rows of the first part
@param ... names and rows of up to two further parts
@return an object with forward, backward, parameters */
static int new_features(lua_State *L) {
  size_t channels = flow_check_size(L, 1, "channels", 1, FLOW_SIZE_MAX);
  size_t rows[FEATURES_PARTS], parts = 0;
  for (int arg = 2; parts == 0 || (parts < FEATURES_PARTS && !lua_isnoneornil(L, arg));
       arg += 2, parts++) {
    luaL_checkstring(L, arg);
    rows[parts] = flow_check_size(L, arg + 1, "rows", 1, FLOW_SIZE_MAX);
  }
  Features *f = flow_new(L, FEATURES_TYPE, sizeof *f);
  f->channels = channels;
  f->precision = precision_in_force(L);
  for (f->parts = 0; f->parts < parts; f->parts++) {
    size_t i = f->parts;
    f->rows += rows[i];
    f->weight[i] = flow_add_param(L, lua_tostring(L, (int)(2 * i + 2)), 2,
                                  (size_t[]){rows[i], channels});
  }
  return 1;
}

static int to_string(lua_State *L) {
  const Features *f = check(L);
  lua_pushfstring(L, FEATURES_TYPE " of %d channels for %d rows", (int)f->channels,
                  (int)f->rows);
  return 1;
}

static const luaL_Reg methods[] = {{"forward", forward},
                                   {"backward", backward},
                                   {"__tostring", to_string},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {{"features", new_features}, {NULL, NULL}};

void open_features(lua_State *L) {
  flow_class(L, FEATURES_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}

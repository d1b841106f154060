/* Binding of nn/loss.c: the table `cglow.core.loss`.  The public face, with the
 * documentation and the mean, is lua/cglow/nn/losses.lua. */
#include "nn/loss.h"

#include <lauxlib.h>

#include "base/threads.h"
#include "lua/flow_object.h"
#include "lua/open.h"

/* N×K×H×W at arg. */
static Tensor *check_images(lua_State *L, int arg) {
  size_t any[4] = {0, 0, 0, 0};
  return tensor_check_shape(L, arg, 4, any);
}

/* One number for each pixel at arg, N×H×W; nil: NULL. */
static const real *check_map(lua_State *L, int arg, const Tensor *like, bool optional) {
  if (optional && lua_isnoneornil(L, arg)) return NULL;
  size_t dim[3] = {like->dim[0], like->dim[2], like->dim[3]};
  return tensor_check_shape(L, arg, 3, dim)->data;
}

/* A tensor like `like` at arg that shares no number with it. */
static Act check_gradient(lua_State *L, int arg, const Tensor *like) {
  Tensor *t = tensor_check_shape(L, arg, 4, like->dim);
  luaL_argcheck(L, !tensor_overlap(t, like), arg,
                "a tensor of its own expected, got the output");
  return flow_act(t);
}

static double *row_sums(lua_State *L, const Act *out) {
  return (double *)(void *)tensor_workspace(L, flow_doubles(out->n * out->h));
}

/* cross_entropy(logits, classes, mask, scale, gradient) → sum; nil when a class is none
 */
static int cross_entropy(lua_State *L) {
  Tensor *logits = check_images(L, 1);
  const real *classes = check_map(L, 2, logits, false),
             *mask = check_map(L, 3, logits, true);
  real scale = (real)luaL_checknumber(L, 4);
  Act gradient = check_gradient(L, 5, logits), out = flow_act(logits);
  lua_settop(L, 5);
  double *sums = row_sums(L, &out);
  if (!loss_classes_fit(classes, logits->count / logits->dim[1], logits->dim[1]))
    return lua_pushnil(L), 1;
  lua_pushnumber(L, loss_cross_entropy(&out, classes, mask, scale, &gradient, sums,
                                       parallel_threads()));
  return 1;
}

/* squared_error(output, target, mask, scale, gradient) → sum */
static int squared_error(lua_State *L) {
  Tensor *output = check_images(L, 1), *target = tensor_check_shape(L, 2, 4, output->dim);
  const real *mask = check_map(L, 3, output, true);
  real scale = (real)luaL_checknumber(L, 4);
  Act gradient = check_gradient(L, 5, output), out = flow_act(output),
      to = flow_act(target);
  luaL_argcheck(L, !tensor_overlap(tensor_check(L, 5), target), 5,
                "a tensor of its own expected, got the target");
  lua_settop(L, 5);
  double *sums = row_sums(L, &out);
  lua_pushnumber(
      L, loss_squared_error(&out, &to, mask, scale, &gradient, sums, parallel_threads()));
  return 1;
}

static const luaL_Reg functions[] = {
    {"cross_entropy", cross_entropy}, {"squared_error", squared_error}, {NULL, NULL}};

void open_loss(lua_State *L) {
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "loss");
}

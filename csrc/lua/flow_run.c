/* Sizes, conditions and memory of a flow layer's passes. */
#include "lua/flow_run.h"

#include "base/threads.h"

FlowRun flow_run_for(lua_State *L, const Flow *f, bool back) {
  Act in = flow_act(flow_check_input(L, 2, f->channels)), out = in;
  char why[FLOW_WHY];
  if (f->ops->resize != NULL && !f->ops->resize(f, &in, back, &out, why))
    luaL_argerror(L, 2, lua_pushstring(L, why));
  return (FlowRun){.y = back ? out : in,
                   .z = back ? in : out,
                   .rows = 1,
                   .repeat = in.n,
                   .threads = parallel_threads()};
}

real *flow_run_condition(lua_State *L, int arg, FlowShape shape, FlowRun *r) {
  if (shape.ndim == 0) {
    flow_check_no_condition(L, arg);
    return NULL;
  }
  const Tensor *t = tensor_check_shape(L, arg, shape.ndim, shape.dim);
  r->rows = t->dim[shape.sample];
  if (r->y.n % r->rows != 0)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "a condition for %d samples cannot serve %d",
                                  (int)r->rows, (int)r->y.n));
  r->repeat = r->y.n / r->rows;
  return t->data;
}

FlowShape flow_condition(const Flow *f, const Act *y) {
  return f->ops->condition ? f->ops->condition(f, y) : flow_no_shape();
}

size_t flow_saved_count(const Flow *f, const FlowRun *r) {
  return f->ops->saved ? f->ops->saved(f, r) : 0;
}

real *flow_push_saved(lua_State *L, const Flow *f, const FlowRun *r) {
  size_t count = flow_saved_count(f, r);
  return count > 0 ? reuse_tensor(L, 1, FLOW_SAVED, 1, &count)->data : NULL;
}

void flow_push_act(lua_State *L, int uv, Act *a) {
  size_t dim[4] = {a->n, a->c, a->h, a->w};
  *a = flow_act(reuse_tensor(L, 1, uv, 4, dim));
}

void flow_push_result(lua_State *L, int arg, const Tensor *input, int uv, Act *a) {
  size_t dim[4] = {a->n, a->c, a->h, a->w};
  if (lua_isnoneornil(L, arg)) {
    flow_push_act(L, uv, a);
    return;
  }
  Tensor *t = tensor_check_shape(L, arg, 4, dim);
  luaL_argcheck(L, !tensor_overlap(t, input), arg,
                "a tensor that shares no memory with the input expected");
  const Tensor *cond = tensor_test(L, 3);
  luaL_argcheck(L, cond == NULL || !tensor_overlap(t, cond), arg,
                "a tensor that shares no memory with the condition expected");
  *a = flow_act(t);
  lua_pushvalue(L, arg);
}

real *flow_push_hidden(lua_State *L, const FlowObject *o, const FlowRun *r) {
  size_t count = o->flow->ops->hidden ? o->flow->ops->hidden(o->flow, r) : 0;
  if (count == 0) return NULL;
  FlowStore *s = o->store;
  lua_getiuservalue(L, 1, FLOW_STORE);
  if (s->room < count) {
    Tensor *t = tensor_new(L, 1, &count);
    s->owner = NULL; /* now that no finalizer can run a layer that shares the store */
    s->data = t->data;
    s->room = count;
    lua_setiuservalue(L, -2, 1);
  }
  lua_getiuservalue(L, -1, 1);
  return s->data;
}

real *flow_take_workspace(lua_State *L, const Flow *f, FlowRun *r, FlowPass pass,
                          size_t before) {
  size_t scratch = f->ops->scratch ? f->ops->scratch(f, r, pass) : 0;
  real *work = tensor_workspace(L, round_up(before) + scratch);
  r->scratch = work + round_up(before);
  return work;
}

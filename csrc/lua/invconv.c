/* Binding of flow/invconv.c: the flow layer "cglow.InvConv". */
#include "flow/invconv.h"

#include <math.h>
#include <string.h>

#include "lua/flow.h"
#include "math/elementwise.h"

/*** @submodule cglow.flow */

#define INVCONV_TYPE "cglow.InvConv"

typedef struct InvConv {
  size_t c;
  bool conditional;
  Param *weight; /* unconditional */
} InvConv;

static InvConv *check(lua_State *L) { return luaL_checkudata(L, 1, INVCONV_TYPE); }

/* The matrices for n samples.  Conditional: W = tanh(condition at index arg),
 * pushed and kept in user value uv. */
static InvConvMatrices matrices_for(lua_State *L, const InvConv *v, int arg, size_t n, int uv) {
  if (!v->conditional) {
    flow_check_no_condition(L, arg);
    return (InvConvMatrices){v->weight->value, 1, 0, n};
  }
  size_t repeat, cc = v->c * v->c, dim[2] = {0, cc};
  Tensor *raw = flow_check_condition(L, arg, n, 2, dim, &repeat);
  Tensor *w = reuse_tensor(L, 1, uv, 2, raw->dim);
  unary_tanh(w->data, raw->data, raw->count);
  return (InvConvMatrices){w->data, raw->dim[0], cc, repeat};
}

static InvConvMatrices inverses(const InvConv *v, const Tensor *inverse, size_t n) {
  size_t count = inverse->dim[0];
  return (InvConvMatrices){inverse->data, count, v->conditional ? v->c * v->c : 0,
                           n / count};
}

/* Factorise; inverse may be NULL.  Returns log|det W| per matrix in scratch
 * that lasts until the next call. */
static double *factor(lua_State *L, const InvConv *v, const InvConvMatrices *m,
                      real *inverse, double **rcond) {
  int threads = parallel_threads();
  size_t room = invconv_factor_scratch(v->c) * (size_t)threads;
  double *logdet = (double *)tensor_workspace(L, flow_doubles(room + 2 * m->count));
  if (rcond) *rcond = logdet + m->count;
  invconv_factor(m, v->c, logdet, inverse, rcond ? *rcond : NULL, logdet + 2 * m->count,
                 threads);
  return logdet;
}

static void push_scaled_logdet(lua_State *L, const InvConvMatrices *m,
                               const double *logabsdet, size_t n, size_t hw) {
  lua_getiuservalue(L, 1, FLOW_LOGDET);
  for (size_t i = lua_rawlen(L, -1); i > n; i--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  for (size_t i = 0; i < n; i++) {
    lua_pushnumber(L, logabsdet[m->step ? i / m->repeat : 0] * (double)hw);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static int forward(lua_State *L) {
  InvConv *v = check(L);
  Tensor *y = flow_check_input(L, 2, v->c);
  bool keep = flow_keep(L, 4);
  lua_settop(L, 3);
  InvConvMatrices m = matrices_for(L, v, 3, y->dim[0], FLOW_SAVED);
  real *inverse = NULL;
  if (keep) {
    size_t dim[3] = {m.count, v->c, v->c};
    inverse = reuse_tensor(L, 1, FLOW_SAVED2, 3, dim)->data;
  } else {
    flow_keep_value(L, FLOW_SAVED2, 0);
  }
  flow_keep_value(L, FLOW_Y, keep ? 2 : 0);
  Tensor *z = reuse_tensor(L, 1, FLOW_Z, 4, y->dim);
  double *logabsdet = factor(L, v, &m, inverse, NULL);
  Act in = flow_act(y), out = flow_act(z);
  invconv_apply(&in, &m, false, &out, parallel_threads());
  push_scaled_logdet(L, &m, logabsdet, y->dim[0], y->dim[2] * y->dim[3]);
  return 2;
}

static int apply_inverse(lua_State *L, Tensor *z, const InvConvMatrices *inv) {
  Act in = flow_act(z), out = flow_act(reuse_tensor(L, 1, FLOW_INVERSE, 4, z->dim));
  invconv_apply(&in, inv, false, &out, parallel_threads());
  return 1;
}

/* Push a tensor count×C×C of inverses; an error when one does not exist. */
static Tensor *push_inverses(lua_State *L, const InvConv *v, const InvConvMatrices *m) {
  size_t dim[3] = {m->count, v->c, v->c};
  Tensor *t = tensor_new(L, 3, dim);
  double *logabsdet = factor(L, v, m, t->data, NULL);
  for (size_t i = 0; i < m->count; i++)
    if (!isfinite(logabsdet[i]))
      luaL_error(L, "invconv: W of sample %d is singular or not finite, it has no inverse",
                 (int)i + 1);
  return t;
}

static int inverse(lua_State *L) {
  InvConv *v = check(L);
  Tensor *z = flow_check_input(L, 2, v->c);
  lua_settop(L, 3);
  InvConvMatrices m = matrices_for(L, v, 3, z->dim[0], FLOW_PASSING);
  InvConvMatrices inv = inverses(v, push_inverses(L, v, &m), z->dim[0]);
  return apply_inverse(L, z, &inv);
}

/*** Everything of the inverse that depends on the condition alone: the
inverses of W, for many samples to come.
@function InvConv:prepare
@tparam[opt] Tensor cond N×C·C
@treturn Tensor N×C×C for `inverse_prepared` */
static int prepare(lua_State *L) {
  InvConv *v = check(L);
  lua_settop(L, 2);
  size_t n = v->conditional ? tensor_check(L, 2)->dim[0] : 1;
  InvConvMatrices m = matrices_for(L, v, 2, n, FLOW_PASSING);
  push_inverses(L, v, &m);
  return 1;
}

/*** The inverse, from what `prepare` made.
@function InvConv:inverse_prepared
@tparam Tensor z N×C×H×W
@tparam Tensor prepared for N samples, or for fewer that divide N
@treturn Tensor y */
static int inverse_prepared(lua_State *L) {
  InvConv *v = check(L);
  Tensor *z = flow_check_input(L, 2, v->c);
  size_t repeat, dim[3] = {0, v->c, v->c};
  Tensor *prepared = flow_check_condition(L, 3, z->dim[0], 3, dim, &repeat);
  lua_settop(L, 3);
  InvConvMatrices inv = inverses(v, prepared, z->dim[0]);
  return apply_inverse(L, z, &inv);
}

/* Sum (unconditional) or pass on through tanh (conditional) dW of n samples. */
static void finish_gradient(const InvConv *v, const real *dw, const real *w, size_t n,
                            real *dcond) {
  size_t cc = v->c * v->c;
  if (dcond != NULL) {
    for (size_t i = 0; i < n * cc; i++) dcond[i] = dw[i] * (1 - w[i] * w[i]);
    return;
  }
  real beta;
  real *g = param_accumulate(v->weight, &beta);
  for (size_t i = 0; i < cc; i++) {
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += (double)dw[k * cc + i];
    g[i] = (beta == 0 ? 0 : g[i]) + (real)sum;
  }
}

static int backward(lua_State *L) {
  InvConv *v = check(L);
  lua_settop(L, 3);
  Tensor *y = flow_kept(L, FLOW_Y), *inverse_kept = flow_kept(L, FLOW_SAVED2);
  Tensor *dz = tensor_check_shape(L, 2, 4, y->dim);
  size_t n = y->dim[0], cc = v->c * v->c;
  InvConvMatrices m = {v->weight ? v->weight->value : NULL, 1, 0, n};
  if (v->conditional) {
    Tensor *w = flow_kept(L, FLOW_SAVED);
    if (w->dim[0] != n || inverse_kept->dim[0] != n)
      return luaL_error(L, "backward: forward's condition had %d rows for %d samples",
                        (int)w->dim[0], (int)n);
    m = (InvConvMatrices){w->data, n, cc, 1};
  }
  InvConvMatrices inv = inverses(v, inverse_kept, n);
  Tensor *dy = reuse_tensor(L, 1, FLOW_DY, 4, y->dim);
  real *dcond = NULL;
  if (v->conditional) {
    size_t dim[2] = {n, cc};
    dcond = reuse_tensor(L, 1, FLOW_DCOND, 2, dim)->data;
  } else {
    flow_prepare_params(L);
    lua_pushnil(L);
  }
  size_t at = round_up(n);
  real *work = tensor_workspace(L, at + n * cc);
  flow_check_weights(L, 3, n, work);
  Act ya = flow_act(y), dza = flow_act(dz), dya = flow_act(dy);
  int threads = parallel_threads();
  invconv_apply(&dza, &m, true, &dya, threads);
  invconv_weight_gradient(&ya, &dza, work, &inv, work + at, threads);
  finish_gradient(v, work + at, m.w, n, dcond);
  return 2;
}

/*** How close each W of a condition is to singular.
@function InvConv:diagnose
@tparam[opt] Tensor cond N×C·C
@treturn {number,...} log|det W| of each
@treturn {number,...} reciprocal condition number (1-norm) of each, 0 when
singular */
static int diagnose(lua_State *L) {
  InvConv *v = check(L);
  lua_settop(L, 2);
  size_t n = v->conditional ? tensor_check(L, 2)->dim[0] : 1;
  InvConvMatrices m = matrices_for(L, v, 2, n, FLOW_PASSING);
  double *rcond, *logabsdet = factor(L, v, &m, NULL, &rcond);
  const double *values[] = {logabsdet, rcond};
  for (int k = 0; k < 2; k++) {
    lua_createtable(L, (int)m.count, 0);
    for (size_t i = 0; i < m.count; i++) {
      lua_pushnumber(L, values[k][i]);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
  }
  return 2;
}

/*** Invertible 1×1 convolution, z = W y at every pixel (design section 2; Glow
section 3.2).
@function invconv
@int channels C
@bool conditional true: the condition is N×C·C and W = tanh of it, row-major;
false: W is the parameter `weight`, C×C
@return a flow layer on N×C×H×W */
static int new_invconv(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 1, 4096);
  bool conditional = lua_toboolean(L, 2);
  InvConv *v = flow_new(L, INVCONV_TYPE, sizeof *v);
  v->c = c;
  v->conditional = conditional;
  if (!conditional) {
    size_t dim[2] = {c, c};
    v->weight = flow_add_param(L, "weight", 2, dim);
    for (size_t i = 0; i < c; i++) v->weight->value[i * (c + 1)] = 1;
  }
  return 1;
}

static int to_string(lua_State *L) {
  const InvConv *v = check(L);
  lua_pushfstring(L, INVCONV_TYPE " of %d channels, %s", (int)v->c,
                  v->conditional ? "conditional" : "unconditional");
  return 1;
}

static const luaL_Reg methods[] = {{"forward", forward},
                                   {"inverse", inverse},
                                   {"prepare", prepare},
                                   {"inverse_prepared", inverse_prepared},
                                   {"backward", backward},
                                   {"diagnose", diagnose},
                                   {"__tostring", to_string},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {{"invconv", new_invconv}, {NULL, NULL}};

void open_invconv(lua_State *L) {
  flow_type(L, INVCONV_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}

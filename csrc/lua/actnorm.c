/* Binding of flow/actnorm.c: the flow layer "cglow.ActNorm". */
#include "flow/actnorm.h"

#include <string.h>

#include "lua/flow.h"
#include "math/elementwise.h"

/*** @submodule cglow.flow */

#define ACTNORM_TYPE "cglow.ActNorm"

typedef struct ActNorm {
  size_t c;
  bool conditional;
  Param *logs, *bias; /* unconditional */
} ActNorm;

static ActNorm *check(lua_State *L) { return luaL_checkudata(L, 1, ACTNORM_TYPE); }

/* The rows for n samples.  Conditional: (s, b) = tanh(condition at index 3),
 * pushed and kept in user value uv. */
static ActNormRows rows_for(lua_State *L, const ActNorm *a, size_t n, int uv) {
  if (!a->conditional) {
    flow_check_no_condition(L, 3);
    return (ActNormRows){a->logs->value, a->bias->value, 0, 1};
  }
  size_t repeat, dim[2] = {0, 2 * a->c};
  Tensor *raw = flow_check_condition(L, 3, n, 2, dim, &repeat);
  Tensor *sb = reuse_tensor(L, 1, uv, 2, raw->dim);
  unary_tanh(sb->data, raw->data, raw->count);
  return (ActNormRows){sb->data, sb->data + a->c, 2 * a->c, repeat};
}

static int forward(lua_State *L) {
  ActNorm *a = check(L);
  Tensor *y = flow_check_input(L, 2, a->c);
  lua_settop(L, 3);
  ActNormRows rows = rows_for(L, a, y->dim[0], FLOW_SAVED);
  Tensor *z = reuse_tensor(L, 1, FLOW_Z, 4, y->dim);
  double *logdet = (double *)tensor_workspace(L, flow_doubles(y->dim[0]));
  Act in = flow_act(y), out = flow_act(z);
  actnorm_forward(&in, &rows, &out, logdet, parallel_threads());
  flow_push_logdet(L, logdet, y->dim[0]);
  return 2;
}

static int inverse(lua_State *L) {
  ActNorm *a = check(L);
  Tensor *z = flow_check_input(L, 2, a->c);
  lua_settop(L, 3);
  ActNormRows rows = rows_for(L, a, z->dim[0], FLOW_PASSING);
  Act in = flow_act(z);
  Act out = flow_act(reuse_tensor(L, 1, FLOW_INVERSE, 4, z->dim));
  actnorm_inverse(&in, &rows, &out, parallel_threads());
  return 1;
}

/*** Set the parameters of an unconditional layer so that each channel of a batch comes
out with mean 0 and variance 1 (Glow, section 3.1).
@function ActNorm:start
@tparam Tensor y N×C×H×W */
static int start(lua_State *L) {
  ActNorm *a = check(L);
  Act y = flow_act(flow_check_input(L, 2, a->c));
  if (a->conditional)
    return luaL_error(L, "start: the layer is conditional, it has no parameters");
  actnorm_start(&y, a->bias->value, a->logs->value);
  return 0;
}

/* Unconditional: every sample's gradient goes to the two parameters. */
static void add_to_params(const ActNorm *a, const real *ds, const real *db, size_t n) {
  real beta_s, beta_b;
  real *gs = param_accumulate(a->logs, &beta_s), *gb = param_accumulate(a->bias, &beta_b);
  for (size_t c = 0; c < a->c; c++) {
    double s = 0, b = 0;
    for (size_t i = 0; i < n; i++) {
      s += (double)ds[i * a->c + c];
      b += (double)db[i * a->c + c];
    }
    gs[c] = (beta_s == 0 ? 0 : gs[c]) + (real)s;
    gb[c] = (beta_b == 0 ? 0 : gb[c]) + (real)b;
  }
}

/* Conditional: through tanh to the condition, rows (ds, db). */
static void to_condition(const ActNorm *a, const ActNormRows *rows, const real *ds,
                         const real *db, real *out, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < a->c; c++, out++) {
      real s = rows->s[i * rows->step + c], b = rows->b[i * rows->step + c];
      out[0] = ds[i * a->c + c] * (1 - s * s);
      out[a->c] = db[i * a->c + c] * (1 - b * b);
      if (c + 1 == a->c) out += a->c;
    }
}

static int backward(lua_State *L) {
  ActNorm *a = check(L);
  lua_settop(L, 3);
  Tensor *z = flow_kept(L, FLOW_Z);
  Tensor *dz = tensor_check_shape(L, 2, 4, z->dim);
  size_t n = z->dim[0], nc = n * a->c;
  ActNormRows rows = {a->logs ? a->logs->value : NULL, a->bias ? a->bias->value : NULL, 0,
                      1};
  if (a->conditional) {
    Tensor *sb = flow_kept(L, FLOW_SAVED);
    if (sb->dim[0] != n)
      return luaL_error(L, "backward: forward's condition had %d rows for %d samples",
                        (int)sb->dim[0], (int)n);
    rows = (ActNormRows){sb->data, sb->data + a->c, 2 * a->c, 1};
  }
  Tensor *dy = reuse_tensor(L, 1, FLOW_DY, 4, z->dim), *dcond = NULL;
  if (a->conditional) {
    size_t dim[2] = {n, 2 * a->c};
    dcond = reuse_tensor(L, 1, FLOW_DCOND, 2, dim);
  } else {
    flow_prepare_params(L);
    lua_pushnil(L);
  }
  real *work = tensor_workspace(L, 2 * nc + n);
  flow_check_weights(L, 3, n, work + 2 * nc);
  Act za = flow_act(z), dza = flow_act(dz), dya = flow_act(dy);
  actnorm_backward(&za, &rows, &dza, work + 2 * nc, &dya, work, work + nc,
                   parallel_threads());
  if (dcond != NULL)
    to_condition(a, &rows, work, work + nc, dcond->data, n);
  else
    add_to_params(a, work, work + nc, n);
  return 2;
}

/*** Activation normalisation, z = (y + b)·exp(s) per channel (design section
2; Glow, equation of section 3.1).
@function actnorm
@int channels C
@bool conditional true: the condition is N×2C and (s, b) = tanh of its halves;
false: s and b are the parameters `logs` and `bias`
@return a flow layer on N×C×H×W */
static int new_actnorm(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 1, FLOW_SIZE_MAX);
  bool conditional = lua_toboolean(L, 2);
  ActNorm *a = flow_new(L, ACTNORM_TYPE, sizeof *a);
  a->c = c;
  a->conditional = conditional;
  if (!conditional) {
    a->bias = flow_add_param(L, "bias", 1, &c);
    a->logs = flow_add_param(L, "logs", 1, &c);
  }
  return 1;
}

static int to_string(lua_State *L) {
  const ActNorm *a = check(L);
  lua_pushfstring(L, ACTNORM_TYPE " of %d channels, %s", (int)a->c,
                  a->conditional ? "conditional" : "unconditional");
  return 1;
}

static const luaL_Reg methods[] = {{"forward", forward},      {"inverse", inverse},
                                   {"backward", backward},    {"start", start},
                                   {"__tostring", to_string}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"actnorm", new_actnorm}, {NULL, NULL}};

void open_actnorm(lua_State *L) {
  flow_type(L, ACTNORM_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}

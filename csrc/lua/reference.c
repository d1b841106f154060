/* Binding of test/reference.c, in builds for specs only: core.reference. */
#include "lua/open.h"

#ifdef CGLOW_REFERENCE

#include <lauxlib.h>

#include "lua/tensor.h"
#include "math/gemm.h"
#include "test/reference.h"

/* Strides and paddings sh, sw, ph, pw from argument arg on; x at 1, weight at 2. */
static ReferenceConv geometry(lua_State *L, int arg, const Tensor *x,
                              const Tensor *weight) {
  lua_Integer v[4];
  for (int i = 0; i < 4; i++) {
    v[i] = luaL_checkinteger(L, arg + i);
    luaL_argcheck(L, v[i] >= (i < 2) && v[i] < 1024, arg + i, "small integer expected");
  }
  luaL_argcheck(L, x->ndim == 4 && weight->ndim == 4 && weight->dim[1] == x->dim[1], 2,
                "weight out x in x kh x kw for x's channels expected");
  ConvGeometry g = {weight->dim[2], weight->dim[3], (size_t)v[0],  (size_t)v[1],
                    (size_t)v[2],   (size_t)v[3],   PRECISION_FP32};
  ReferenceConv r = {x->dim[0],
                     x->dim[1],
                     x->dim[2],
                     x->dim[3],
                     weight->dim[0],
                     conv_out_size(x->dim[2], g.kh, g.sh, g.ph),
                     conv_out_size(x->dim[3], g.kw, g.sw, g.pw),
                     g};
  luaL_argcheck(L, r.oh > 0 && r.ow > 0, 2, "the kernel does not fit");
  return r;
}

/* conv(x, weight, bias or nil, sh, sw, ph, pw) -> y */
static int forward(lua_State *L) {
  Tensor *x = tensor_check(L, 1), *weight = tensor_check(L, 2), *bias = NULL;
  if (!lua_isnil(L, 3)) bias = tensor_check_shape(L, 3, 1, weight->dim);
  ReferenceConv r = geometry(L, 4, x, weight);
  Tensor *y = tensor_new(L, 4, (size_t[]){r.n, r.out, r.oh, r.ow});
  reference_conv(&r, x->data, weight->data, bias ? bias->data : NULL, y->data);
  return 1;
}

/* conv_backward(x, weight, dy, sh, sw, ph, pw) -> dx, dweight, dbias */
static int backward(lua_State *L) {
  Tensor *x = tensor_check(L, 1), *weight = tensor_check(L, 2);
  ReferenceConv r = geometry(L, 4, x, weight);
  Tensor *dy = tensor_check_shape(L, 3, 4, (size_t[]){r.n, r.out, r.oh, r.ow});
  Tensor *dx = tensor_like(L, x), *dweight = tensor_like(L, weight);
  Tensor *dbias = tensor_new(L, 1, &r.out);
  reference_conv_backward(&r, x->data, weight->data, dy->data, dx->data, dweight->data,
                          dbias->data);
  return 3;
}

/* limit_isa(name): products use no instructions beyond those. */
static int limit_isa(lua_State *L) {
  const char *most = luaL_checkstring(L, 1);
  luaL_argcheck(L, isa_limit(most), 1, "no such instruction set");
  return 0;
}

static const luaL_Reg functions[] = {{"conv", forward},
                                     {"conv_backward", backward},
                                     {"limit_isa", limit_isa},
                                     {NULL, NULL}};

void open_reference(lua_State *L) {
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  lua_setfield(L, -2, "reference");
}

#endif

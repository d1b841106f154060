/* The methods and functions of tensors, file by file; lua/tensor_type.c makes the class
 * of them. */
#ifndef CGLOW_LUA_TENSOR_METHODS_H
#define CGLOW_LUA_TENSOR_METHODS_H

#include <lauxlib.h>
#include <lua.h>

/* Each table ends with a NULL. */
extern const luaL_Reg tensor_make_functions[];
extern const luaL_Reg tensor_shape_methods[], tensor_shape_functions[];
extern const luaL_Reg tensor_math_methods[], tensor_math_metamethods[];
extern const luaL_Reg tensor_reduce_methods[], tensor_matmul_methods[];
extern const luaL_Reg tensor_bytes_methods[], tensor_bytes_functions[];

/* __tostring */
int tensor_tostring(lua_State *L);

#endif

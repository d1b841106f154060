/* What each binding file adds to the table that `require "cglow.core"` returns, or to a
 * table in it (lua/core.c says which).  Each function finds that table on top of the
 * stack, adds its functions and metatables, and leaves the stack as it was. */
#ifndef CGLOW_LUA_OPEN_H
#define CGLOW_LUA_OPEN_H

#include <lua.h>

void open_guard(lua_State *L);
void open_tensor(lua_State *L);
void open_rng(lua_State *L);
void open_image(lua_State *L);
void open_file(lua_State *L);
void open_file_reader(lua_State *L);
void open_file_writer(lua_State *L);
void open_parallel(lua_State *L);
void open_precision(lua_State *L);
void open_param(lua_State *L);
void open_net(lua_State *L);
void open_layers(lua_State *L);
void open_net_group(lua_State *L);
void open_unet(lua_State *L);
void open_flow_layers(lua_State *L);
void open_prior(lua_State *L);
void open_features(lua_State *L);
void open_optim(lua_State *L);
void open_average(lua_State *L);
void open_shared(lua_State *L);
void open_readers(lua_State *L);
void open_loss(lua_State *L);
void open_vision(lua_State *L);
void open_system(lua_State *L);
#ifdef CGLOW_REFERENCE
void open_reference(lua_State *L);
#endif

#endif

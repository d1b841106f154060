/* What the file bindings share: how failures look from Lua, and handles. */
#ifndef CGLOW_LUA_FILE_H
#define CGLOW_LUA_FILE_H

#include <lauxlib.h>
#include <lua.h>

#include "io/file.h"

/* An open descriptor; its path is user value 1. */
typedef struct FileHandle {
  int fd; /* -1 when closed */
} FileHandle;

/* Push an empty handle (fd -1) of this type for the path at index 1. */
FileHandle *handle_new(lua_State *L, const char *type);
/* The handle at 1, open. */
FileHandle *handle_check(lua_State *L, const char *type);
/* Close and __gc, __close of a handle of any type. */
int handle_close(lua_State *L);

/* Push nil, "path: what went wrong", code; the path is a string at `path`.
 * Return 3. */
int file_fail(lua_State *L, int path, int error);
/* As file_fail, for a method of the object at 1, whose user value 1 is the path. */
int file_fail_at(lua_State *L, int error);
/* Push true and return 1, or fail at an error. */
int file_done_at(lua_State *L, int error);
/* As file_fail, without the path. */
int file_reason(lua_State *L, int error);
/* The path at arg: a string without zero bytes. */
const char *file_check_path(lua_State *L, int arg);

/* Register a class of handles: `close` is also its __gc and __close. */
void file_new_type(lua_State *L, const char *type, const luaL_Reg *methods,
                   lua_CFunction close);

#endif

/* Lua values on their way from one state to another: numbers, strings, booleans, tensors,
 * and tables of these, as one block of bytes that belongs to neither. */
#ifndef CGLOW_LUA_PARCEL_H
#define CGLOW_LUA_PARCEL_H

#include <lua.h>
#include <stddef.h>

typedef struct Parcel {
  char *bytes; /* from malloc; NULL when empty */
  size_t size, capacity;
} Parcel;

/* Put a copy of the value at stack index `from` into an empty parcel; raises on any other
 * kind of value, on tables in too many levels, and without memory.  What is in the parcel
 * then has no meaning, but has to be let go all the same. */
void parcel_pack(lua_State *L, int from, Parcel *parcel);

/* Push what is in it. */
void parcel_unpack(lua_State *L, const Parcel *parcel);

/* Let it go: empty and without memory. */
void parcel_free(Parcel *parcel);

#endif

#include "open.h"

void open_rng(lua_State *L) { (void)L; }

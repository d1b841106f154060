#include "open.h"

void open_vision(lua_State *L) { (void)L; }

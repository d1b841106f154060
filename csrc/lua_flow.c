#include "open.h"

void open_flow(lua_State *L) { (void)L; }

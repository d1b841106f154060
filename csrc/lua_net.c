#include "open.h"

void open_net(lua_State *L) { (void)L; }

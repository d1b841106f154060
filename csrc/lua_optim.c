#include "open.h"

void open_optim(lua_State *L) { (void)L; }

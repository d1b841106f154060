#include "open.h"

void open_file(lua_State *L) { (void)L; }

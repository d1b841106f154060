#include "open.h"

void open_image(lua_State *L) { (void)L; }

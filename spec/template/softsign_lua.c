static int new_softsign(lua_State *L) { return single_new(L, &layer_softsign), 1; }

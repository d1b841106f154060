/* A process that has computed with several threads forks: the child computes the same
 * with one, where OpenMP's library would wait for threads that it has not.  Threads that
 * read ahead are the parent's, too: the child asks them for nothing. */
#include <signal.h>
#include <sys/wait.h>

#include "runner.h"

static const char program[] =
    "local core, nn = require 'cglow.core', require 'cglow.nn'\n"
    "core.seed(1)\n"
    "local net = nn.Conv2d {in_channels = 8, out_channels = 32, padding = 1}\n"
    "local x = core.randn(8, 8, 32, 32)\n"
    "function compute() return core.file.crc32c(net:forward(x)) end\n"
    "function threads(...) return core.threads(...) end\n"
    "readers = assert(core.readers(2, 8, 'return function(i) return i end'))\n"
    "for i = 1, 4 do readers:ask(i) end\n"
    "function ahead(i)\n"
    "  local taken_on = readers:ask(i)\n"
    "  while taken_on and not readers:ready(i) do end\n"
    "  return readers:take(i) or 0\n"
    "end\n";

static lua_Integer call(lua_State *L, const char *name, lua_Integer n) {
  lua_getglobal(L, name);
  lua_pushinteger(L, n);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    tap_note("%s", lua_tostring(L, -1));
    return -1;
  }
  lua_Integer result = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return result;
}

/* What the child found, in its exit status: 0 when all is well. */
static int be_child(lua_State *L, lua_Integer want) {
  alarm(60); /* where it hangs */
  if (call(L, "compute", 0) != want) return 1;
  if (call(L, "threads", 2) != 1) return 2;
  if (call(L, "ahead", 1) != 0) return 4;
  return call(L, "compute", 0) == want ? 0 : 3;
}

static int status_of_child(lua_State *L, lua_Integer want) {
  int status = -1;
  (void)fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(be_child(L, want));
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return status;
}

int main(void) {
  lua_State *L = luaL_newstate();
  if (L == NULL) return 1;
  open_libraries(L);
  bool ready = luaL_dostring(L, program) == LUA_OK;
  if (!ready) tap_note("%s", lua_tostring(L, -1));
  tap(ready, "the module is there");
  tap(call(L, "threads", 2) == 2, "two threads are used");
  lua_Integer want = call(L, "compute", 0);
  int status = status_of_child(L, want);
  tap(status == 0, "a child made by fork computes the same, on one thread (status %d)",
      status);
  tap(call(L, "ahead", 3) == 3, "the parent's threads read ahead for it");
  tap(call(L, "compute", 0) == want && call(L, "threads", 2) == 2,
      "the parent goes on with two");
  lua_close(L);
  return tap_end();
}

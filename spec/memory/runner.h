/* What the C test programs share: TAP output for spec/tools/run.lua, a Lua state
 * that finds the modules of this checkout, and a folder for files. */
#ifndef CGLOW_RUNNER_H
#define CGLOW_RUNNER_H

#include <dirent.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tap_count, tap_failures;

__attribute__((format(printf, 2, 3))) static void tap(bool ok, const char *format, ...) {
  va_list args;
  va_start(args, format);
  printf("%sok %d - ", ok ? "" : "not ", ++tap_count);
  vprintf(format, args);
  putchar('\n');
  (void)fflush(stdout);
  va_end(args);
  tap_failures += !ok;
}

__attribute__((format(printf, 1, 2), unused)) static void tap_note(const char *format,
                                                                   ...) {
  va_list args;
  va_start(args, format);
  printf("# ");
  vprintf(format, args);
  putchar('\n');
  va_end(args);
}

static int tap_end(void) {
  printf("1..%d\n", tap_count);
  return tap_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Open the libraries and look for modules here first: Lua ones in ./lua, the
 * core in the folder CGLOW_CORE. */
__attribute__((unused)) static void open_libraries(lua_State *L) {
  const char *core = getenv("CGLOW_CORE");
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_pushfstring(L, "./lua/?.lua;./lua/?/init.lua;./spec/memory/?.lua;%s",
                  lua_tostring(L, -1));
  lua_setfield(L, -3, "path");
  lua_getfield(L, -2, "cpath");
  lua_pushfstring(L, "./%s/?.so;%s", core != NULL ? core : "lua", lua_tostring(L, -1));
  lua_setfield(L, -4, "cpath");
  lua_pop(L, 3);
}

enum { FOLDER_SIZE = 64 };

/* Make a new empty folder; its name goes to path, which has room for that. */
__attribute__((unused)) static bool make_folder(char *path) {
  snprintf(path, FOLDER_SIZE, "/tmp/cglow-runner-XXXXXX");
  return mkdtemp(path) != NULL;
}

/* Remove a folder with all that is in it; how many files that were. */
__attribute__((unused)) static int remove_folder(const char *path) {
  int n = 0;
  DIR *folder = opendir(path);
  if (folder == NULL) return -1;
  for (struct dirent *e; (e = readdir(folder)) != NULL;) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    char inside[1024];
    snprintf(inside, sizeof inside, "%s/%s", path, e->d_name);
    n += unlink(inside) == 0 ? 1 : remove_folder(inside);
  }
  closedir(folder);
  rmdir(path);
  return n;
}

#endif

/* cglow.core.system: what a training run needs to know of the process and the
 * machine: a clock that never goes back, memory in use, whether a stream is a
 * terminal, and a catch for Ctrl-C. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/isa.h"
#include "lua/class.h"
#include "lua/open.h"

#define CATCH_TYPE "cglow.InterruptCatch"

/***
The process and the machine.
@module cglow.core.system
*/

/* ---- clock and memory -------------------------------------------------- */

/***
Seconds on a clock that only goes forward; its zero means nothing.
@function clock
@treturn number seconds
*/
static int system_clock(lua_State *L) {
  struct timespec t;
  if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
    return luaL_error(L, "clock: %s", strerror(errno));
  lua_pushnumber(L, (lua_Number)t.tv_sec + 1e-9 * (lua_Number)t.tv_nsec);
  return 1;
}

static lua_Number peak_bytes(void) {
  struct rusage use;
  if (getrusage(RUSAGE_SELF, &use) != 0) return 0;
#ifdef __APPLE__
  return (lua_Number)use.ru_maxrss; /* bytes there, kilobytes elsewhere */
#else
  return 1024.0 * (lua_Number)use.ru_maxrss;
#endif
}

/* Resident memory now; 0 where there is no /proc. */
static lua_Number resident_bytes(void) {
  char line[256] = ""; /* pages: all of the program, then those in memory */
  FILE *f = fopen("/proc/self/statm", "r");
  if (f == NULL) return 0;
  bool read = fgets(line, sizeof line, f) != NULL;
  (void)fclose(f);
  const char *second = read ? strchr(line, ' ') : NULL;
  if (second == NULL) return 0;
  return (lua_Number)strtoul(second, NULL, 10) * (lua_Number)sysconf(_SC_PAGESIZE);
}

/***
Memory of this process.
@function memory
@treturn number resident bytes now (the peak where the system tells no more)
@treturn number peak resident bytes so far
*/
static int system_memory(lua_State *L) {
  lua_Number peak = peak_bytes(), now = resident_bytes();
  lua_pushnumber(L, now > 0 ? now : peak);
  lua_pushnumber(L, peak > now ? peak : now);
  return 2;
}

/* ---- the terminal ------------------------------------------------------ */

static int check_descriptor(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  if (fd < 0 || fd > 2)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "expected 0, 1 or 2, got %I", (LUAI_UACINT)fd));
  return (int)fd;
}

/***
Is one of the standard streams a terminal?
@function isatty
@tparam integer fd 0 input, 1 output, 2 errors
@treturn boolean
*/
static int system_isatty(lua_State *L) {
  lua_pushboolean(L, isatty(check_descriptor(L)));
  return 1;
}

/***
Width of the terminal behind a standard stream.
@function columns
@tparam integer fd 0 input, 1 output, 2 errors
@treturn ?integer columns; nil when it is no terminal or does not say
*/
static int system_columns(lua_State *L) {
  struct winsize size;
  if (ioctl(check_descriptor(L), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    lua_pushinteger(L, size.ws_col);
  else
    luaL_pushfail(L);
  return 1;
}

/* ---- the machine ------------------------------------------------------- */

/* Copy the value of /proc/cpuinfo's first "model name" line; false if none. */
static int cpu_name(char *out, size_t size) {
  char line[512];
  int found = 0;
  FILE *f = fopen("/proc/cpuinfo", "r");
  if (f == NULL) return 0;
  while (!found && fgets(line, sizeof line, f) != NULL) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
    colon += 1 + strspn(colon + 1, " \t");
    snprintf(out, size, "%.*s", (int)strcspn(colon, "\n"), colon);
    found = 1;
  }
  (void)fclose(f);
  return found;
}

/***
The machine, in words and numbers.
@function machine
@treturn table `cpu` (its name, or the architecture where the system has no
name for it), `instructions` (which of the kernels' variants it runs: "AVX-512", "AVX2" or
"any"), `cores` (that are online), `memory` (bytes), `system` (name and release)
*/
static int system_machine(lua_State *L) {
  struct utsname name;
  char text[512];
  if (uname(&name) != 0) memset(&name, 0, sizeof name);
  if (!cpu_name(text, sizeof text)) snprintf(text, sizeof text, "%s", name.machine);
  lua_createtable(L, 0, 5);
  lua_pushstring(L, text);
  lua_setfield(L, -2, "cpu");
  lua_pushstring(L, isa_name());
  lua_setfield(L, -2, "instructions");
  lua_pushinteger(L, sysconf(_SC_NPROCESSORS_ONLN));
  lua_setfield(L, -2, "cores");
  lua_pushinteger(
      L, (lua_Integer)sysconf(_SC_PHYS_PAGES) * (lua_Integer)sysconf(_SC_PAGESIZE));
  lua_setfield(L, -2, "memory");
  lua_pushfstring(L, "%s %s", name.sysname, name.release);
  lua_setfield(L, -2, "system");
  return 1;
}

/* ---- Ctrl-C ------------------------------------------------------------ */

/* The catch is the process's, as signal handlers are: one at a time. */
static const int caught_signals[] = {SIGINT, SIGTERM};
#define N_CAUGHT (sizeof caught_signals / sizeof caught_signals[0])
static struct sigaction previous[N_CAUGHT];
static volatile sig_atomic_t received; /* the first signal, 0 before it */
static struct timespec received_at;    /* set before `received`, read after it */
static char notice[256];               /* written when the first one comes */
static size_t notice_length;
static atomic_int catching;

static void restore_handlers(void) {
  for (size_t i = 0; i < N_CAUGHT; i++) sigaction(caught_signals[i], &previous[i], NULL);
}

/* `timeout` signals its child and then the whole group, so what follows within a second
 * is the same signal once more; nobody presses Ctrl-C twice before reading what it did.
 */
static bool is_echo(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return false;
  return now.tv_sec - received_at.tv_sec +
             1e-9 * (double)(now.tv_nsec - received_at.tv_nsec) <
         1;
}

/* The first signal only sets the flag; from the second on the signals do what
 * they did before the catch, so that a stuck step can still be stopped.  Only
 * async-signal-safe calls are made. */
static void on_signal(int sig) {
  int saved = errno;
  if (received == 0) {
    clock_gettime(CLOCK_MONOTONIC, &received_at);
    received = sig;
    if (notice_length > 0 &&
        write(STDERR_FILENO, notice, notice_length) < 0) { /* nothing to do */
    }
  } else if (!is_echo()) {
    restore_handlers();
    raise(sig);
  }
  errno = saved;
}

static int catch_close(lua_State *L) {
  int *open = luaL_checkudata(L, 1, CATCH_TYPE);
  if (*open) {
    *open = 0;
    restore_handlers();
    atomic_store(&catching, 0);
  }
  return 0;
}

/***
The signal that came since the catch began.
@function Catch:received
@treturn ?string "INT" or "TERM"; nil while none has come
*/
static int catch_received(lua_State *L) {
  luaL_checkudata(L, 1, CATCH_TYPE);
  if (received == 0)
    luaL_pushfail(L);
  else
    lua_pushstring(L, received == SIGINT ? "INT" : "TERM");
  return 1;
}

/***
Keep Ctrl-C (SIGINT) and SIGTERM from ending the process until the result is
closed: the first one is only remembered, a second one, more than a second later, acts as
it did before.
Use it as `local catch <close> = system.catch_interrupt()`.
@function catch_interrupt
@tparam[opt] string message written to the error stream when the first comes,
at most 255 bytes
@treturn Catch
@raise when a catch is open already
*/
static int system_catch_interrupt(lua_State *L) {
  size_t length;
  const char *message = luaL_optlstring(L, 1, "", &length);
  if (length >= sizeof notice)
    luaL_argerror(
        L, 1,
        lua_pushfstring(L, "at most 255 bytes expected, got %I", (LUAI_UACINT)length));
  int *open = lua_newuserdatauv(L, sizeof *open, 0);
  *open = 0;
  luaL_setmetatable(L, CATCH_TYPE);
  if (atomic_exchange(&catching, 1))
    return luaL_error(L, "catch_interrupt: a catch is open already");

  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  memcpy(notice, message, length);
  notice_length = length;
  received = 0;
  for (size_t i = 0; i < N_CAUGHT; i++)
    sigaction(caught_signals[i], &action, &previous[i]);
  *open = 1;
  return 1;
}

/* ---- module ------------------------------------------------------------ */

static const luaL_Reg catch_meta[] = {{"received", catch_received},
                                      {"__gc", catch_close},
                                      {"__close", catch_close},
                                      {NULL, NULL}};

static const luaL_Reg functions[] = {{"clock", system_clock},
                                     {"memory", system_memory},
                                     {"isatty", system_isatty},
                                     {"columns", system_columns},
                                     {"machine", system_machine},
                                     {"catch_interrupt", system_catch_interrupt},
                                     {NULL, NULL}};

void open_system(lua_State *L) {
  class_new(L, CATCH_TYPE, catch_meta);
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "system");
}

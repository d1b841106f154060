/* libFuzzer entry point for safetensors.load and what it stands on: the JSON
 * reader and the file functions.  Most of that is Lua, so a line hook counts the
 * lines that run in libFuzzer's extra counters: coverage then guides it
 * through Lua code as it does through C.
 *
 * `make fuzz` builds it and runs it from the repository root.  It stops at a
 * crash, an error that is raised, a failure without a reason, a file that does
 * not survive saving and loading again, a descriptor left open, and more memory
 * than a file of that size justifies. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed);
int luaopen_cglow_core(lua_State *L);

/* Nearly every change of the header's text spoils its length, so the mutator
 * repairs it, as the place after the last brace. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed) {
  n = LLVMFuzzerMutate(bytes, n, room);
  size_t end = n;
  while (end > 8 && bytes[end - 1] != '}') end--;
  if (end <= 8 || seed % 16 == 0) return n; /* a wrong length is worth a test too */
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)(end - 8) >> (8 * i));
  return n;
}

#define LINES 65536
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t lines[LINES];

static void count_line(lua_State *L, lua_Debug *d) {
  lua_getinfo(L, "S", d);
  uintptr_t at = (uintptr_t)d->source * 31 + (uintptr_t)d->currentline * 2654435761u;
  lines[(at >> 4) % LINES]++;
}

/* An allocator that knows how much is out and fails past a limit. */
static size_t used, limit = SIZE_MAX;

static void *allocate(void *ud, void *old, size_t old_size, size_t size) {
  (void)ud;
  if (old == NULL) old_size = 0;
  if (size > old_size && used - old_size + size > limit) return NULL;
  if (size == 0) {
    free(old);
    used -= old_size;
    return NULL;
  }
  void *new = realloc(old, size);
  if (new != NULL) used = used - old_size + size;
  return new;
}

/* Loads the file; a good one is saved and loaded again and must be the same. */
static const char script[] =
    "package.path = './lua/?.lua;' .. package.path\n"
    "local json, safetensors = require 'cglow.json', require 'cglow.safetensors'\n"
    "local file = require 'cglow.core'.file\n"
    "local function same(a, b)\n"
    "  for name, t in pairs(a) do\n"
    "    assert(file.crc32c(t) == file.crc32c(b[name]))\n"
    "    local s, r = t:size(), b[name]:size()\n"
    "    assert(#s == #r)\n"
    "    for i = 1, #s do assert(s[i] == r[i]) end\n"
    "  end\n"
    "end\n"
    "return function(path, copy)\n"
    "  local tensors, metadata, code = safetensors.load(path)\n"
    "  if not tensors then\n"
    "    assert(#metadata > 0 and #metadata < 1000 and math.type(code) == 'integer')\n"
    "    return\n"
    "  end\n"
    "  assert(safetensors.save(copy, tensors, metadata))\n"
    "  local again, notes = assert(safetensors.load(copy))\n"
    "  same(tensors, again)\n"
    "  same(again, tensors)\n"
    "  assert(json.encode(metadata) == json.encode(notes))\n"
    "end\n";

static char input[64], copy[64];

static lua_State *start(void) {
  snprintf(input, sizeof input, "/tmp/fuzz_safetensors.%ld", (long)getpid());
  snprintf(copy, sizeof copy, "%s.copy", input);
  lua_State *L = lua_newstate(allocate, NULL);
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_cglow_core);
  lua_setfield(L, -2, "cglow.core");
  lua_pop(L, 1);
  if (luaL_dostring(L, script) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
  }
  lua_sethook(L, count_line, LUA_MASKLINE, 0);
  return L;
}

static void write_input(const uint8_t *bytes, size_t n) {
  FILE *f = fopen(input, "wb");
  if (f == NULL || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) abort();
}

static int lowest_free_descriptor(void) {
  int fd = dup(0);
  close(fd);
  return fd;
}

/* What a table, a string and a tensor of their own cost for the shortest texts
 * that ask for them, with room to spare. */
#define BYTES_FOR_BYTE 200
#define BYTES_ANYWAY ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static lua_State *L;
  if (L == NULL) L = start();
  write_input(bytes, n);
  int before = lowest_free_descriptor();
  lua_gc(L, LUA_GCCOLLECT);
  limit = used + BYTES_ANYWAY + BYTES_FOR_BYTE * n;
  lua_pushvalue(L, 1);
  lua_pushstring(L, input);
  lua_pushstring(L, copy);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    fprintf(stderr, "raised: %s\n", lua_tostring(L, -1));
    abort();
  }
  limit = SIZE_MAX;
  if (lowest_free_descriptor() != before) abort();
  return 0;
}

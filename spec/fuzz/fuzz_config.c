/* libFuzzer entry point for the JSON reader and for what cglow.load does with the
 * configuration of a checkpoint; see
 * targets/config.lua. */
#include "fuzz_lua.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  return fuzz_lua("config", bytes, n);
}

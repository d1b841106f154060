/* libFuzzer entry point for the readers of lists, poses, cameras and super-pixels; see
 * targets/lists.lua. */
#include "fuzz_lua.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  return fuzz_lua("lists", bytes, n);
}

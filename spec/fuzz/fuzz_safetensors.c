/* libFuzzer entry point for safetensors.load, the JSON reader and the file
 * functions that it stands on; see targets/safetensors.lua. */
#include "fuzz_lua.h"

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed);

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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  return fuzz_lua("safetensors", bytes, n);
}

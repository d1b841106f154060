/* libFuzzer entry point for npy.load; see targets/npy.lua. */
#include "fuzz_lua.h"

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed);

/* Nearly every change of the header's text spoils its length, so the mutator repairs
 * it, as the place after the last brace. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed) {
  n = LLVMFuzzerMutate(bytes, n, room);
  size_t end = n, start = n > 6 && bytes[6] > 1 ? 12 : 10;
  while (end > start && bytes[end - 1] != '}') end--;
  if (end <= start || seed % 16 == 0) return n; /* a wrong length is worth a test too */
  for (size_t i = 8; i < start; i++) bytes[i] = (uint8_t)((end - start) >> 8 * (i - 8));
  return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  return fuzz_lua("npy", bytes, n);
}

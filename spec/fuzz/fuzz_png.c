/* libFuzzer entry point for the PNG reader; see fuzz_image.h.
 * Nearly every change spoils a checksum, so the mutator repairs them. */
#include <zlib.h>

#include "fuzz_image.h"

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed);

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Chunks after the signature of 8 bytes: length, type, data, checksum. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t room, unsigned seed) {
  n = LLVMFuzzerMutate(bytes, n, room);
  if (seed % 16 == 0) return n; /* a wrong checksum is worth a test too */
  for (size_t at = 8; at + 12 <= n;) {
    size_t length = get32(bytes + at);
    if (length > n - at - 12) break;
    put32(bytes + at + 8 + length,
          (uint32_t)crc32(0, bytes + at + 4, (uInt)(length + 4)));
    at += 12 + length;
  }
  return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  return fuzz_image(&image_png, bytes, n);
}

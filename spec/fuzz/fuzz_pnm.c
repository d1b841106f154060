/* libFuzzer entry point for the PNM reader; see fuzz_image.h. */
#include "fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  return fuzz_image(&image_pnm, bytes, n);
}

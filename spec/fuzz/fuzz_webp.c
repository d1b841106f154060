/* libFuzzer entry point for the WebP reader; see fuzz_image.h. */
#include "fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  return fuzz_image(&image_webp, bytes, n);
}

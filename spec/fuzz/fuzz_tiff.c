/* libFuzzer entry point for the TIFF reader; see fuzz_image.h. */
#include "fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  return fuzz_image(&image_tiff, bytes, n);
}

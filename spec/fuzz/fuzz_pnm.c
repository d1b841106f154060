/* libFuzzer entry point for the PNM, PAM and PFM readers; see fuzz_image.h. */
#include "fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  fuzz_image(&image_pnm, bytes, n);
  fuzz_image(&image_pam, bytes, n);
  return fuzz_image(&image_pfm, bytes, n);
}

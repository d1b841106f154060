/* What the fuzzers of the image readers share: decode the bytes as csrc/lua/image.c
 * does, as file values and as raw samples, into exactly the room that the header asks
 * for.  `make fuzzers` builds them; run one on a folder of small image files. */
#ifndef CGLOW_FUZZ_IMAGE_H
#define CGLOW_FUZZ_IMAGE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Larger ones only make the fuzzer slow. */
#define FUZZ_MAX_PIXELS ((size_t)1 << 20)

static void fuzz_check(int ok) {
  if (!ok) abort();
}

/* A failure must say why; a success must have set every number to one that the
 * header allows. */
static void fuzz_decode(const ImageCodec *codec, const uint8_t *bytes, size_t n,
                        int channels, bool raw) {
  ImageHeader h;
  ImageError e = {0, ""};
  if (!codec->header(bytes, n, raw, &h, &e)) {
    fuzz_check(e.code != 0 && e.text[0] != '\0' && strlen(e.text) < sizeof e.text);
    return;
  }
  fuzz_check(h.width >= 1 && h.width <= IMAGE_MAX_SIDE && h.height >= 1 &&
             h.height <= IMAGE_MAX_SIDE && h.channels >= 1 && h.channels <= 4 &&
             h.max >= 1 && h.max <= 65535 && h.orientation >= 1 && h.orientation <= 8);
  if (h.width * h.height > FUZZ_MAX_PIXELS) return;
  size_t count = (size_t)channels * h.width * h.height;
  real *planes = malloc(count * sizeof *planes);
  fuzz_check(planes != NULL);
  for (size_t i = 0; i < count; i++) planes[i] = -1;
  ImageSink sink = {planes, 0, 0, channels, raw, channels == 1};
  image_shown_size(&h, sink.as_stored, &sink.width, &sink.height);
  if (codec->decode(bytes, n, &sink, &e)) {
    for (size_t i = 0; i < count; i++)
      fuzz_check(h.floating ? raw || isfinite(planes[i])
                            : planes[i] >= 0 && planes[i] <= (real)(raw ? h.max : 1));
  } else {
    fuzz_check(e.code != 0 && e.text[0] != '\0');
  }
  free(planes);
}

static int fuzz_image(const ImageCodec *codec, const uint8_t *bytes, size_t n) {
  if (!codec->matches(bytes, n)) return 0;
  fuzz_decode(codec, bytes, n, 1, true);
  fuzz_decode(codec, bytes, n, 3, false);
  fuzz_decode(codec, bytes, n, 4, false);
  return 0;
}

#endif

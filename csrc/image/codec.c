#include "image/codec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODECS = 3 };
static const ImageCodec *const codecs[CODECS] = {&image_png, &image_jpeg, &image_pnm};

bool image_fail(ImageError *e, int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(e->text, sizeof e->text, format, args);
  va_end(args);
  e->code = code;
  return false;
}

static const ImageCodec *find_codec(const uint8_t *bytes, size_t n, ImageError *e) {
  for (size_t i = 0; i < CODECS; i++)
    if (codecs[i]->matches(bytes, n)) return codecs[i];
  image_fail(e, EBADMSG,
             n == 0 ? "the file is empty" : "neither PNG, JPEG nor PNM (P2, P3, P5, P6)");
  return NULL;
}

bool image_read_header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                       ImageError *e) {
  const ImageCodec *codec = find_codec(bytes, n, e);
  return codec != NULL && codec->header(bytes, n, raw, h, e);
}

bool image_decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  const ImageCodec *codec = find_codec(bytes, n, e);
  return codec != NULL && codec->decode(bytes, n, sink, e);
}

bool image_check_sides(size_t width, size_t height, ImageError *e) {
  if (width == 0 || height == 0)
    return image_fail(e, EBADMSG, "the picture has no pixels: %zux%zu", width, height);
  if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
      width * height > IMAGE_MAX_PIXELS)
    return image_fail(e, EFBIG, "%zux%zu pixels; at most %d a side and %zu in all", width,
                      height, IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS);
  return true;
}

bool image_fits(const ImageHeader *h, const ImageSink *sink, ImageError *e) {
  if (h->width != sink->width || h->height != sink->height)
    return image_fail(e, EINVAL, "room for %zux%zu pixels, %zux%zu came", sink->width,
                      sink->height, h->width, h->height);
  return true;
}

/* Luma of ITU-R BT.601 in thousandths: in integers, so that equal red, green
 * and blue give exactly their value. */
static unsigned luma(const uint16_t *p) {
  return 299u * p[0] + 587u * p[1] + 114u * p[2];
}

/* Sample c of a pixel for the sink, times 1000. */
static unsigned convert(const uint16_t *p, const ImageHeader *h, int c, int channels) {
  bool colour = h->channels >= 3, alpha = h->channels % 2 == 0;
  if (c == 3) return 1000u * (alpha ? p[h->channels - 1] : h->max);
  if (!colour) return 1000u * p[0];
  return channels == 1 ? luma(p) : 1000u * p[c];
}

void image_put_row(const ImageSink *sink, const ImageHeader *h, const uint16_t *samples,
                   ImageSpan span) {
  /* Both factors are exact in a double, so sample/max is rounded once. */
  const double unit = sink->raw ? 1000.0 : 1000.0 * h->max;
  for (int c = 0; c < sink->channels; c++) {
    real *out =
        sink->planes + ((size_t)c * sink->height + span.row) * sink->width + span.column;
    const uint16_t *p = samples;
    for (size_t i = 0; i < span.count; i++, p += h->channels)
      out[i * span.step] = (real)(convert(p, h, c, sink->channels) / unit);
  }
}

void image_take_row(const ImageSource *source, size_t row, uint16_t *samples) {
  const double max = source->max, scale = source->raw ? 1.0 : max;
  for (int c = 0; c < source->channels; c++) {
    const real *in = source->planes + ((size_t)c * source->height + row) * source->width;
    for (size_t i = 0; i < source->width; i++) {
      double v = (double)in[i] * scale;
      v = v < 0 ? 0 : v > max ? max : v;
      samples[i * (size_t)source->channels + (size_t)c] = (uint16_t)(v + 0.5);
    }
  }
}

bool image_append(ImageBytes *b, const void *data, size_t n) {
  if (n > PTRDIFF_MAX - b->size) return false;
  if (b->size + n > b->capacity) {
    size_t capacity = b->size + n + (b->size + n) / 2 + 256;
    uint8_t *grown = realloc(b->data, capacity);
    if (grown == NULL) return false;
    b->data = grown;
    b->capacity = capacity;
  }
  if (n > 0) memcpy(b->data + b->size, data, n);
  b->size += n;
  return true;
}

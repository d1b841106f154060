/* What the readers of all picture formats share. */
#include "image/codec.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ImageCodec *const codecs[] = {&image_png,  &image_jpeg, &image_pnm,
                                           &image_pam,  &image_pfm,  &image_tiff,
                                           &image_webp, NULL};

bool image_fail(ImageError *e, int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(e->text, sizeof e->text, format, args);
  va_end(args);
  e->code = code;
  return false;
}

/* Pictures of other formats, by the bytes that begin them or that stand at `at`. */
static const char *name_foreign(const uint8_t *bytes, size_t n) {
  static const struct {
    size_t at;
    const char *begin, *name;
  } foreign[] = {
      {0, "GIF8", "GIF"},
      {0, "BM", "BMP"},
      {4, "ftypavif", "AVIF"},
      {4, "ftypavis", "AVIF"},
      {4, "ftyphei", "HEIC"},
      {4, "ftyphev", "HEIC"},
      {4, "ftypmif1", "HEIF"},
      {4, "ftypmsf1", "HEIF"},
      {4, "jP  \r\n", "JPEG 2000"},
      {0, "\xff\x4f\xff\x51", "JPEG 2000"},
      {4, "JXL \r\n", "JPEG XL"},
      {0, "\xff\x0a", "JPEG XL"},
      {0, "8BPS", "Photoshop"},
      {0, "v/1\x01", "OpenEXR"},
      {0, "#?RADIANCE", "Radiance HDR"},
      {0, "%PDF", "PDF"},
  };
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
    size_t length = strlen(foreign[i].begin);
    if (n >= foreign[i].at + length &&
        memcmp(bytes + foreign[i].at, foreign[i].begin, length) == 0)
      return foreign[i].name;
  }
  return NULL;
}

static const ImageCodec *find_codec(const uint8_t *bytes, size_t n, ImageError *e) {
  for (size_t i = 0; codecs[i] != NULL; i++) {
    const ImageCodec *codec = codecs[i];
    if (!codec->matches(bytes, n)) continue;
    if (codec->absent == NULL) return codec;
    image_fail(e, ENOTSUP, "%s", codec->absent);
    return NULL;
  }
  static const char known[] = "PNG, JPEG, TIFF, WebP, PNM (P1 to P7)";
  const char *name = name_foreign(bytes, n);
  if (name != NULL)
    image_fail(e, ENOTSUP, "%s is not supported; %s and PFM are", name, known);
  else if (n == 0)
    image_fail(e, EBADMSG, "the file is empty");
  else
    image_fail(e, EBADMSG, "neither %s nor PFM", known);
  return NULL;
}

const ImageCodec *image_read_header(const uint8_t *bytes, size_t n, bool raw,
                                    ImageHeader *h, ImageError *e) {
  const ImageCodec *codec = find_codec(bytes, n, e);
  if (codec == NULL || !codec->header(bytes, n, raw, h, e)) return NULL;
  if (h->pages == 0) h->pages = 1;
  return codec;
}

/* What Exif's orientations do: rows become columns (5 to 8), the first stored
 * row lies at the far side (3, 4, 6, 7), the first column does (2, 3, 7, 8). */
static bool sides_exchanged(int orientation) { return orientation >= 5; }

static bool rows_from_far(int orientation) {
  return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

static bool columns_from_far(int orientation) {
  return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
}

void image_shown_size(const ImageHeader *h, bool as_stored, size_t *width,
                      size_t *height) {
  bool exchanged = !as_stored && sides_exchanged(h->orientation);
  *width = exchanged ? h->height : h->width;
  *height = exchanged ? h->width : h->height;
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
  size_t width, height;
  image_shown_size(h, sink->as_stored, &width, &height);
  if (width != sink->width || height != sink->height)
    return image_fail(e, EINVAL, "room for %zux%zu pixels, %zux%zu came", sink->width,
                      sink->height, width, height);
  return true;
}

/* Luma of ITU-R BT.601 in thousandths: sums of whole numbers are exact in a double, so
 * that equal red, green and blue give exactly their value. */
static double luma(const double *p) { return 299 * p[0] + 587 * p[1] + 114 * p[2]; }

/* Sample c of a pixel for the sink, times 1000. */
static double convert(const double *p, const ImageHeader *h, int c, int channels) {
  bool colour = h->channels >= 3, alpha = h->channels % 2 == 0;
  if (c == channels - 1 && channels % 2 == 0)
    return 1000.0 * (alpha ? p[h->channels - 1] : h->max);
  if (!colour) return 1000.0 * p[0];
  return channels <= 2 ? luma(p) : 1000.0 * p[c];
}

/* The samples of pixel i. */
static void fetch(const ImageHeader *h, const void *samples, size_t i, double *p) {
  size_t n = (size_t)h->channels;
  for (size_t c = 0; c < n; c++)
    p[c] = h->floating ? ((const float *)samples)[i * n + c]
                       : ((const uint16_t *)samples)[i * n + c];
}

bool image_check_finite(const ImageSink *sink, const float *samples, size_t count,
                        ImageError *e) {
  for (size_t i = 0; i < count && !sink->raw; i++)
    if (!isfinite(samples[i]))
      return image_fail(e, EBADMSG,
                        "the picture holds numbers that are not finite; option 'raw' "
                        "reads them as they are");
  return true;
}

/* Where a plane of the sink has the stored pixel (0, 0), and how far from it
 * the next row and the next column are. */
typedef struct Place {
  ptrdiff_t start, row, column;
} Place;

static Place place_of(const ImageHeader *h, const ImageSink *sink) {
  int turn = sink->as_stored ? 1 : h->orientation;
  Place p = {0, (ptrdiff_t)sink->width, 1};
  if (sides_exchanged(turn)) p = (Place){0, 1, (ptrdiff_t)sink->width};
  if (rows_from_far(turn)) {
    p.start += p.row * (ptrdiff_t)(h->height - 1);
    p.row = -p.row;
  }
  if (columns_from_far(turn)) {
    p.start += p.column * (ptrdiff_t)(h->width - 1);
    p.column = -p.column;
  }
  return p;
}

void image_put_row(const ImageSink *sink, const ImageHeader *h, const void *samples,
                   ImageSpan span) {
  /* Both factors are exact in a double, so sample/max is rounded once. */
  const double unit = sink->raw ? 1000.0 : 1000.0 * h->max;
  const Place place = place_of(h, sink);
  const ptrdiff_t first = place.start + place.row * (ptrdiff_t)span.row +
                          place.column * (ptrdiff_t)span.column;
  const ptrdiff_t step = place.column * (ptrdiff_t)span.step;
  const size_t plane = sink->height * sink->width;
  for (size_t i = 0; i < span.count; i++) {
    real *out = sink->planes + first + (ptrdiff_t)i * step;
    double p[4] = {0};
    fetch(h, samples, i, p);
    for (int c = 0; c < sink->channels; c++)
      out[(size_t)c * plane] = (real)(convert(p, h, c, sink->channels) / unit);
  }
}

uint16_t image_under_ink(unsigned light, unsigned black) {
  return (uint16_t)((2 * light * black + 255) / 510); /* rounded */
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

/* Image files in memory, read and written.
 *
 * Reading takes two calls over the same bytes: image_read_header says how
 * large the picture is, the caller makes room, image_decode fills it row by
 * row.  Each call frees all it took from malloc before it returns, so whoever
 * makes the room (a tensor, which may raise a Lua error) holds nothing of ours
 * meanwhile.  No byte sequence is trusted: what the header claims is held
 * against the number of bytes there are before anything is allocated for it. */
#ifndef CGLOW_IMAGE_CODEC_H
#define CGLOW_IMAGE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

#define IMAGE_MAX_SIDE 65535               /* pixels; what JPEG can express */
#define IMAGE_MAX_PIXELS ((size_t)1 << 27) /* 134 million */

typedef struct ImageError {
  int code; /* an errno value */
  char text[200];
} ImageError;

/* Fill *e and return false, so that a check can end in `return image_fail(…)`. */
bool image_fail(ImageError *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

typedef struct ImageHeader {
  size_t width, height; /* as stored */
  int channels;         /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha */
  unsigned max;         /* the sample value that stands for 1.0, at most 65535 */
  bool floating;        /* samples are numbers as they are, of any size; max is 1 */
  int orientation;      /* Exif's: how stored pixels are to be turned, 1 = not at all */
  bool palette;         /* colours are looked up in a palette */
  bool lossy;           /* samples are not just what was put into the file */
  unsigned pages;       /* pictures in the file, of which the first is read; 0 is 1 */
} ImageHeader;

/* Where decoded samples go: channels × height × width numbers, either
 * sample/max or the bare sample. */
typedef struct ImageSink {
  real *planes;
  size_t width, height;
  int channels; /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha */
  bool raw;
  bool as_stored; /* pass over the orientation */
} ImageSink;

/* A format that can be read.  With `raw`, palette indices are the samples. */
typedef struct ImageCodec {
  const char *name;
  bool (*matches)(const uint8_t *bytes, size_t n);
  bool (*header)(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h, ImageError *e);
  bool (*decode)(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e);
  const char
      *absent; /* why this build cannot read it, having neither of these; or NULL */
} ImageCodec;

extern const ImageCodec image_png, image_jpeg, image_pnm, image_pam, image_pfm,
    image_tiff, image_webp;

/* The codec that can read it, or NULL. */
const ImageCodec *image_read_header(const uint8_t *bytes, size_t n, bool raw,
                                    ImageHeader *h, ImageError *e);
/* Width and height as every viewer shows the picture. */
void image_shown_size(const ImageHeader *h, bool as_stored, size_t *width,
                      size_t *height);
bool image_decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e);

/* For codecs: are these sides within the limits above? */
bool image_check_sides(size_t width, size_t height, ImageError *e);
/* For codecs: does the picture fit the room that was made for it? */
bool image_fits(const ImageHeader *h, const ImageSink *sink, ImageError *e);

/* Which stored pixels a decoded row is: `count` of them in `row`, starting at
 * `column`, `step` apart (interlaced PNG leaves gaps). */
typedef struct ImageSpan {
  size_t row, column, step, count;
} ImageSpan;

/* Store one decoded row, `h->channels` interleaved samples a pixel (uint16_t, or
 * float when h->floating), at the place where the orientation shows it, turning grey
 * into colour and back as the sink asks; a missing alpha is 1. */
void image_put_row(const ImageSink *sink, const ImageHeader *h, const void *samples,
                   ImageSpan span);

/* For codecs of floating samples: is each of them a finite number, as all must be that
 * are not asked for raw? */
bool image_check_finite(const ImageSink *sink, const float *samples, size_t count,
                        ImageError *e);

/* How much of red, green or blue is left of white under its ink (cyan, magenta, yellow)
 * and black, without a colour profile; all from 0 to 255, 255 for no ink and no black. */
uint16_t image_under_ink(unsigned light, unsigned black);

/* What is written: channels × height × width numbers, clamped to [0, 1] and
 * scaled by `max`, or with `raw` clamped to [0, max] as they are.  No NaN. */
typedef struct ImageSource {
  const real *planes;
  size_t width, height;
  int channels;
  unsigned max; /* 255 or 65535 */
  bool raw;
  const uint8_t *palette; /* of PNG: red, green, blue of each raw sample's colour, or NULL */
  int colours;            /* in it */
} ImageSource;

/* Row `row` as interleaved, rounded samples. */
void image_take_row(const ImageSource *source, size_t row, uint16_t *samples);

/* A growing malloc'ed string of bytes; its owner frees `data`. */
typedef struct ImageBytes {
  uint8_t *data;
  size_t size, capacity;
} ImageBytes;

bool image_append(ImageBytes *b, const void *data, size_t n);

/* Channels: PNG 1 to 4; JPEG 1 or 3 and max 255; PNM and PFM 1 or 3.  PFM holds the
 * numbers themselves, whatever max and raw are. */
bool image_write_png(const ImageSource *s, ImageBytes *out, ImageError *e);
bool image_write_jpeg(const ImageSource *s, int quality, ImageBytes *out, ImageError *e);
bool image_write_pnm(const ImageSource *s, ImageBytes *out, ImageError *e);
bool image_write_pfm(const ImageSource *s, ImageBytes *out, ImageError *e);

#endif

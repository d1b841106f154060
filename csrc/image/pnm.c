/* PNM: grey (P2, P5) and colour (P3, P6), plain and binary, any maximum up to
 * 65535.  Bytes after the picture are left alone, as the format allows. */
#include <errno.h>

#include "image/codec.h"

typedef struct PnmReader {
  const uint8_t *at, *end;
  ImageError *error;
  ImageHeader header;
  bool plain; /* samples in decimal */
} PnmReader;

static bool matches(const uint8_t *bytes, size_t n) {
  return n >= 2 && bytes[0] == 'P' &&
         (bytes[1] == '2' || bytes[1] == '3' || bytes[1] == '5' || bytes[1] == '6');
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* White space and comments, which run from # to the end of the line. */
static void skip_space(PnmReader *r) {
  while (r->at < r->end && (is_space(*r->at) || *r->at == '#')) {
    if (*r->at == '#')
      while (r->at < r->end && *r->at != '\n' && *r->at != '\r') r->at++;
    else
      r->at++;
  }
}

static bool read_number(PnmReader *r, const char *what, unsigned *out) {
  unsigned v = 0;
  skip_space(r);
  if (r->at == r->end)
    return image_fail(r->error, EBADMSG, "damaged PNM: it ends before its %s", what);
  if (!is_digit(*r->at))
    return image_fail(r->error, EBADMSG, "damaged PNM: its %s is no number", what);
  for (; r->at < r->end && is_digit(*r->at); r->at++) {
    v = v * 10 + (unsigned)(*r->at - '0');
    if (v > 65535)
      return image_fail(r->error, EBADMSG, "damaged PNM: its %s is over 65535", what);
  }
  *out = v;
  return true;
}

/* Are there bytes enough for the samples?  A plain one takes a digit and,
 * unless it is the last, a space. */
static bool check_size(const PnmReader *r) {
  const ImageHeader *h = &r->header;
  if (!image_check_sides(h->width, h->height, r->error)) return false;
  size_t left = (size_t)(r->end - r->at);
  size_t samples = h->width * h->height * (size_t)h->channels;
  size_t needed = r->plain ? 2 * samples - 1 : samples * (h->max > 255 ? 2 : 1);
  if (left < needed)
    return image_fail(r->error, EBADMSG,
                      "damaged PNM: %zux%zu pixels need %zu bytes, %zu are left",
                      h->width, h->height, needed, left);
  return true;
}

static bool start(PnmReader *r, const uint8_t *bytes, size_t n, ImageError *e) {
  unsigned width = 0, height = 0, max = 0;
  *r = (PnmReader){.at = bytes + 2, .end = bytes + n, .error = e};
  r->plain = bytes[1] == '2' || bytes[1] == '3';
  if (!read_number(r, "width", &width) || !read_number(r, "height", &height) ||
      !read_number(r, "maximum", &max))
    return false;
  if (max == 0) return image_fail(e, EBADMSG, "damaged PNM: its maximum is 0");
  if (r->at == r->end || !is_space(*r->at++))
    return image_fail(e, EBADMSG, "damaged PNM: no space after its maximum");
  bool grey = bytes[1] == '2' || bytes[1] == '5';
  r->header = (ImageHeader){width, height, grey ? 1 : 3, max, 1, false};
  return check_size(r);
}

static bool read_sample(PnmReader *r, unsigned *v) {
  if (r->plain) {
    if (!read_number(r, "samples' end", v)) return false;
  } else { /* check_size has counted the bytes */
    *v = *r->at++;
    if (r->header.max > 255) *v = *v << 8 | *r->at++;
  }
  if (*v > r->header.max)
    return image_fail(r->error, EBADMSG,
                      "damaged PNM: a sample of %u is over the maximum %u", *v,
                      r->header.max);
  return true;
}

static bool header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                   ImageError *e) {
  (void)raw;
  PnmReader r;
  bool ok = start(&r, bytes, n, e);
  *h = r.header;
  return ok;
}

static bool decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  PnmReader r;
  if (!start(&r, bytes, n, e) || !image_fits(&r.header, sink, e)) return false;
  for (size_t row = 0; row < r.header.height; row++)
    for (size_t column = 0; column < r.header.width; column++) {
      uint16_t pixel[3];
      for (int c = 0; c < r.header.channels; c++) {
        unsigned v = 0;
        if (!read_sample(&r, &v)) return false;
        pixel[c] = (uint16_t)v;
      }
      image_put_row(sink, &r.header, pixel, (ImageSpan){row, column, 1, 1});
    }
  return true;
}

const ImageCodec image_pnm = {"PNM", matches, header, decode};

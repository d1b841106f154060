/* PFM: maps of floating-point numbers, grey (Pf) or colour (PF).  Width, height and a
 * scale follow as text, then the rows from the lowest to the highest, 4 bytes a number,
 * little-endian when the scale is negative.  What the scale's size means is nowhere
 * agreed on; published depth and disparity maps ask for their numbers as they are. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image/pnm.h"

static bool matches(const uint8_t *bytes, size_t n) {
  return n >= 3 && bytes[0] == 'P' && (bytes[1] == 'F' || bytes[1] == 'f') &&
         pnm_is_space(bytes[2]);
}

/* The scale, a decimal fraction other than 0; only its sign is of use. */
static bool read_scale(PnmReader *r, bool *little) {
  static const char allowed[] = "+-.0123456789eE";
  bool digit = false, exponent = false;
  pnm_skip_space(r);
  *little = r->at < r->end && *r->at == '-';
  for (; r->at < r->end && !pnm_is_space(*r->at); r->at++) {
    if (memchr(allowed, *r->at, sizeof allowed - 1) == NULL)
      return image_fail(r->error, EBADMSG, "damaged PFM: its scale is no number");
    exponent = exponent || *r->at == 'e' || *r->at == 'E';
    digit = digit || (!exponent && *r->at >= '1' && *r->at <= '9');
  }
  if (!digit) return image_fail(r->error, EBADMSG, "damaged PFM: its scale is 0");
  return r->at++ < r->end ||
         image_fail(r->error, EBADMSG, "damaged PFM: it ends before its numbers");
}

static bool start(PnmReader *r, bool *little, const uint8_t *bytes, size_t n,
                  ImageError *e) {
  unsigned width = 0, height = 0;
  *r = (PnmReader){.at = bytes + 2, .end = bytes + n, .error = e, .name = "PFM"};
  if (!pnm_read_number(r, "width", &width) || !pnm_read_number(r, "height", &height) ||
      !read_scale(r, little) || !image_check_sides(width, height, e))
    return false;
  r->header = (ImageHeader){.width = width, .height = height, .max = 1, .floating = true};
  r->header.channels = bytes[1] == 'F' ? 3 : 1;
  r->header.orientation = 1;
  return pnm_check_left(r, (size_t)width * height * (size_t)r->header.channels * 4);
}

static bool header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                   ImageError *e) {
  (void)raw;
  PnmReader r;
  bool little, ok = start(&r, &little, bytes, n, e);
  *h = r.header;
  return ok;
}

static float number_at(const uint8_t *p, bool little) {
  uint32_t bits =
      little ? (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0]
             : (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
  float v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

static bool read_rows(PnmReader *r, bool little, const ImageSink *sink, float *row) {
  const ImageHeader *h = &r->header;
  size_t count = h->width * (size_t)h->channels;
  for (size_t i = h->height; i-- > 0;) {
    for (size_t k = 0; k < count; k++, r->at += 4) row[k] = number_at(r->at, little);
    if (!image_check_finite(sink, row, count, r->error)) return false;
    image_put_row(sink, h, row, (ImageSpan){i, 0, 1, h->width});
  }
  return true;
}

static bool decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  PnmReader r;
  bool little;
  if (!start(&r, &little, bytes, n, e) || !image_fits(&r.header, sink, e)) return false;
  float *row = malloc(r.header.width * (size_t)r.header.channels * sizeof *row);
  bool ok = row != NULL ? read_rows(&r, little, sink, row)
                        : image_fail(e, ENOMEM, "not enough memory");
  free(row);
  return ok;
}

const ImageCodec image_pfm = {"PFM", matches, header, decode, NULL};

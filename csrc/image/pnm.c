/* PNM: black and white (P1, P4), grey (P2, P5) and colour (P3, P6), plain and binary,
 * any maximum up to 65535.  Black is 0 and white 1, also where bits say it the other way
 * round.  Bytes after the picture are left alone, as the format allows. */
#include "image/pnm.h"

#include <errno.h>

static bool matches(const uint8_t *bytes, size_t n) {
  return n >= 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6';
}

bool pnm_is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

void pnm_skip_space(PnmReader *r) {
  while (r->at < r->end && (pnm_is_space(*r->at) || *r->at == '#')) {
    if (*r->at == '#')
      while (r->at < r->end && *r->at != '\n' && *r->at != '\r') r->at++;
    else
      r->at++;
  }
}

/* To the first digit of a number. */
static bool find_digit(PnmReader *r, const char *what) {
  pnm_skip_space(r);
  if (r->at == r->end)
    return image_fail(r->error, EBADMSG, "damaged %s: it ends before its %s", r->name,
                      what);
  return is_digit(*r->at) ||
         image_fail(r->error, EBADMSG, "damaged %s: its %s is no number", r->name, what);
}

bool pnm_read_number(PnmReader *r, const char *what, unsigned *out) {
  unsigned v = 0;
  if (!find_digit(r, what)) return false;
  for (; r->at < r->end && is_digit(*r->at); r->at++) {
    v = v * 10 + (unsigned)(*r->at - '0');
    if (v > 65535)
      return image_fail(r->error, EBADMSG, "damaged %s: its %s is over 65535", r->name,
                        what);
  }
  *out = v;
  return true;
}

bool pnm_check_left(const PnmReader *r, size_t needed) {
  size_t left = (size_t)(r->end - r->at);
  return left >= needed ||
         image_fail(r->error, EBADMSG,
                    "damaged %s: %zux%zu pixels need %zu bytes, %zu are left", r->name,
                    r->header.width, r->header.height, needed, left);
}

/* Are there bytes enough for the samples?  A plain one takes a digit and, unless it is
 * the last or a bit, a space; bits fill whole bytes in each row. */
static bool check_size(const PnmReader *r) {
  const ImageHeader *h = &r->header;
  if (!image_check_sides(h->width, h->height, r->error)) return false;
  size_t samples = h->width * h->height * (size_t)h->channels;
  size_t binary =
      r->bits ? (h->width + 7) / 8 * h->height : samples * (h->max > 255 ? 2 : 1);
  return pnm_check_left(r, !r->plain ? binary : r->bits ? samples : 2 * samples - 1);
}

static bool start(PnmReader *r, const uint8_t *bytes, size_t n, ImageError *e) {
  unsigned width = 0, height = 0, max = 1;
  *r = (PnmReader){.at = bytes + 2, .end = bytes + n, .error = e, .name = "PNM"};
  r->plain = bytes[1] <= '3';
  r->bits = bytes[1] == '1' || bytes[1] == '4';
  if (!pnm_read_number(r, "width", &width) || !pnm_read_number(r, "height", &height) ||
      !(r->bits || pnm_read_number(r, "maximum", &max)))
    return false;
  if (max == 0) return image_fail(e, EBADMSG, "damaged PNM: its maximum is 0");
  if (r->at == r->end || !pnm_is_space(*r->at++))
    return image_fail(e, EBADMSG, "damaged PNM: no space after its %s",
                      r->bits ? "height" : "maximum");
  bool colour = bytes[1] == '3' || bytes[1] == '6';
  r->header = (ImageHeader){.width = width, .height = height, .max = max};
  r->header.channels = colour ? 3 : 1;
  r->header.orientation = 1;
  return check_size(r);
}

/* A bit of a plain file, which no space need follow; 1 is black. */
static bool read_plain_bit(PnmReader *r, unsigned *v) {
  if (!find_digit(r, "samples' end")) return false;
  *v = (unsigned)(*r->at++ - '0');
  if (*v > 1)
    return image_fail(r->error, EBADMSG, "damaged %s: a bit is %u, not 0 or 1", r->name,
                      *v);
  *v = 1 - *v;
  return true;
}

static bool read_sample(PnmReader *r, size_t column, unsigned *v) {
  if (r->bits && r->plain) return read_plain_bit(r, v);
  if (r->bits) {
    *v = 1 & ~(unsigned)(*r->at >> (7 - column % 8));
    if (column % 8 == 7 || column == r->header.width - 1) r->at++;
  } else if (r->plain) {
    if (!pnm_read_number(r, "samples' end", v)) return false;
  } else { /* check_size has counted the bytes */
    *v = *r->at++;
    if (r->header.max > 255) *v = *v << 8 | *r->at++;
  }
  if (*v > r->header.max)
    return image_fail(r->error, EBADMSG,
                      "damaged %s: a sample of %u is over the maximum %u", r->name, *v,
                      r->header.max);
  return true;
}

static bool read_samples(PnmReader *r, const ImageSink *sink) {
  for (size_t row = 0; row < r->header.height; row++)
    for (size_t column = 0; column < r->header.width; column++) {
      uint16_t pixel[4];
      for (int c = 0; c < r->header.channels; c++) {
        unsigned v = 0;
        if (!read_sample(r, column, &v)) return false;
        pixel[c] = (uint16_t)v;
      }
      image_put_row(sink, &r->header, pixel, (ImageSpan){row, column, 1, 1});
    }
  return true;
}

bool pnm_header(PnmStart *begin, const uint8_t *bytes, size_t n, ImageHeader *h,
                ImageError *e) {
  PnmReader r;
  bool ok = begin(&r, bytes, n, e);
  *h = r.header;
  return ok;
}

bool pnm_decode(PnmStart *begin, const uint8_t *bytes, size_t n, const ImageSink *sink,
                ImageError *e) {
  PnmReader r;
  return begin(&r, bytes, n, e) && image_fits(&r.header, sink, e) &&
         read_samples(&r, sink);
}

static bool header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                   ImageError *e) {
  (void)raw;
  return pnm_header(start, bytes, n, h, e);
}

static bool decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  return pnm_decode(start, bytes, n, sink, e);
}

const ImageCodec image_pnm = {"PNM", matches, header, decode, NULL};

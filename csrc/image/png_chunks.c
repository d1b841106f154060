/* A PNG file is 8 bytes of signature, then chunks: length (4 bytes), type (4
 * letters), data, CRC-32 of type and data. */
#include "image/png_chunks.h"

#include <errno.h>
#include <string.h>

#include "image/exif.h"

enum { SIGNATURE = 8, FRAME = 12, COLOUR_TYPE = 25, GREY = 0, RGB = 2, PALETTE = 3 };

typedef struct Chunk {
  const uint8_t *type, *data, *end; /* the end is that of its checksum */
  size_t length;                    /* of the data */
} Chunk;

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* CRC-32 of a type and data, bit by bit: it is asked for short chunks. */
static uint32_t checksum(const char *type, const uint8_t *data, size_t n) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < 4 + n; i++) {
    crc ^= i < 4 ? (uint8_t)type[i] : data[i - 4];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

/* Would the chunk be sound if it had this type? */
static bool sound_as(const Chunk *c, const char *type) {
  return checksum(type, c->data, c->length) == get32(c->end - 4);
}

static bool is(const Chunk *c, const char *type) { return memcmp(c->type, type, 4) == 0; }

/* The chunk at `at`; false when no whole one is there. */
static bool chunk_at(const uint8_t *at, const uint8_t *end, Chunk *c) {
  if (end - at < FRAME) return false;
  c->length = get32(at);
  if (c->length > (size_t)(end - at) - FRAME) return false;
  c->type = at + 4;
  c->data = at + 8;
  c->end = c->data + c->length + 4;
  return true;
}

static bool is_letter(uint8_t b) { return (b | 0x20) >= 'a' && (b | 0x20) <= 'z'; }

/* A small first letter says that a picture can be read without the chunk. */
static bool is_ancillary(const Chunk *c) {
  for (int i = 0; i < 4; i++)
    if (!is_letter(c->type[i])) return false;
  return c->type[0] & 0x20;
}

static int colour_type(const uint8_t *bytes, size_t n) {
  return n > COLOUR_TYPE ? bytes[COLOUR_TYPE] : -1;
}

/* One sixteen-bit sample for each colour, or a byte for some of the palette's. */
static bool take_trns(const Chunk *c, int colour, PngExtras *x, ImageError *e) {
  size_t least = colour == RGB ? 6 : colour == GREY ? 2 : 0;
  if (!is(c, "tRNS") || !sound_as(c, "tRNS"))
    return image_fail(e, EBADMSG,
                      "damaged PNG: wrong checksum of its transparency (tRNS)");
  if (c->length < least)
    return image_fail(e, EBADMSG, "damaged PNG: its transparency (tRNS) is too short");
  x->trns = c->length > 0 ? c->data : NULL;
  x->trns_length = c->length;
  return true;
}

/* Is this the chunk of transparency, perhaps with a damaged name? */
static bool claims_trns(const Chunk *c) {
  return is(c, "tRNS") || (!sound_as(c, (const char *)c->type) && sound_as(c, "tRNS"));
}

bool png_find_extras(const uint8_t *bytes, size_t n, PngExtras *x, ImageError *e) {
  int colour = colour_type(bytes, n);
  bool seeking = colour == GREY || colour == RGB || colour == PALETTE, turned = false;
  *x = (PngExtras){NULL, 0, 1};
  Chunk c;
  for (const uint8_t *at = bytes + SIGNATURE; chunk_at(at, bytes + n, &c); at = c.end) {
    if (is(&c, "IEND")) break;
    if (is(&c, "IDAT")) seeking = false;
    if (!is_ancillary(&c)) continue;
    if (!turned && is(&c, "eXIf") && sound_as(&c, "eXIf")) {
      x->orientation = exif_orientation(c.data, c.length);
      turned = true;
    } else if (seeking && claims_trns(&c)) {
      if (!take_trns(&c, colour, x, e)) return false;
      seeking = false;
    }
  }
  return true;
}

PngFeed png_feed(const uint8_t *bytes, size_t n) {
  return (PngFeed){bytes, bytes + (n < SIGNATURE ? n : SIGNATURE), bytes + n,
                   colour_type(bytes, n) == PALETTE};
}

static void next_chunk(PngFeed *f) {
  Chunk c;
  while (chunk_at(f->end, f->file_end, &c) &&
         (is_ancillary(&c) || (is(&c, "PLTE") && !f->palette)))
    f->end = c.end;
  f->at = f->end;
  f->end = chunk_at(f->at, f->file_end, &c) ? c.end : f->file_end;
}

const uint8_t *png_feed_take(PngFeed *f, size_t n) {
  if (f->at == f->end) next_chunk(f);
  if (n > (size_t)(f->end - f->at)) return NULL;
  f->at += n;
  return f->at - n;
}

/* The chunks of a PNG file: which of them the pixels depend on.
 *
 * libpng is shown only those that it needs for them: IHDR, PLTE of a palette
 * picture, IDAT, IEND and whatever critical chunk it does not know.  All else
 * (texts, times, profiles, a suggested palette) is passed over unread, so no
 * fault in it can make a sound picture unreadable.  Two chunks are read here:
 * tRNS, which makes pixels transparent, and eXIf for the orientation. */
#ifndef CGLOW_IMAGE_PNG_CHUNKS_H
#define CGLOW_IMAGE_PNG_CHUNKS_H

#include "image/codec.h"

typedef struct PngExtras {
  const uint8_t *trns; /* data of tRNS; NULL when there is none */
  size_t trns_length;
  int orientation; /* 1 to 8 */
} PngExtras;

/* Find tRNS (before the pixel data) and eXIf (anywhere).  A tRNS with a wrong
 * checksum, or one too short for its kind of picture, is damage; an eXIf with a
 * wrong checksum says nothing. */
bool png_find_extras(const uint8_t *bytes, size_t n, PngExtras *x, ImageError *e);

/* What libpng reads from: the bytes of one chunk after the other. */
typedef struct PngFeed {
  const uint8_t *at, *end; /* of the chunk (or the signature) being read */
  const uint8_t *file_end;
  bool palette; /* PLTE is wanted */
} PngFeed;

PngFeed png_feed(const uint8_t *bytes, size_t n);

/* The next n bytes, which libpng never asks for across two chunks; NULL when
 * there are no more. */
const uint8_t *png_feed_take(PngFeed *f, size_t n);

#endif

/* Exif is a TIFF file without pictures: a header of 8 bytes (byte order, 42,
 * where the first directory is), and in the directory entries of 12 bytes: tag,
 * type, count, value. */
#include "image/exif.h"

#include <stdbool.h>
#include <string.h>

enum { ENTRY = 12, ORIENTATION = 0x0112, SHORT = 3, LONG = 4 };

typedef struct Tiff {
  const uint8_t *bytes;
  size_t n;
  bool little; /* least significant byte first */
} Tiff;

static uint32_t number(const Tiff *t, size_t at, size_t size) {
  uint32_t v = 0;
  for (size_t i = 0; i < size; i++)
    v = v << 8 | t->bytes[at + (t->little ? size - 1 - i : i)];
  return v;
}

/* The value of the entry at `at`; 0 when it is no whole number. */
static uint32_t value_of(const Tiff *t, size_t at) {
  uint32_t type = number(t, at + 2, 2);
  if (number(t, at + 4, 4) != 1 || (type != SHORT && type != LONG)) return 0;
  return number(t, at + 8, type == SHORT ? 2 : 4);
}

int exif_orientation(const uint8_t *bytes, size_t n) {
  if (n >= 6 && memcmp(bytes, "Exif", 5) == 0) {
    bytes += 6;
    n -= 6;
  }
  if (n < 8) return 1;
  Tiff t = {bytes, n, bytes[0] == 'I'};
  if (memcmp(bytes, t.little ? "II" : "MM", 2) != 0 || number(&t, 2, 2) != 42) return 1;
  size_t at = number(&t, 4, 4);
  if (at > n || n - at < 2) return 1;
  size_t entries = number(&t, at, 2);
  at += 2;
  for (size_t i = 0; i < entries && n - at >= ENTRY; i++, at += ENTRY) {
    if (number(&t, at, 2) != ORIENTATION) continue;
    uint32_t v = value_of(&t, at);
    return v >= 1 && v <= 8 ? (int)v : 1;
  }
  return 1;
}

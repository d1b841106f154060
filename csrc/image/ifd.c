/* Directories of TIFF files, big and small ones, in either byte order. */
#include "image/ifd.h"

#include <string.h>

enum { SHORT = 3, LONG = 4, TIFF = 42, BIG_TIFF = 43 };

static uint64_t number(const Ifd *ifd, size_t at, size_t size) {
  uint64_t v = 0;
  for (size_t i = 0; i < size; i++)
    v = v << 8 | ifd->bytes[at + (ifd->little ? size - 1 - i : i)];
  return v;
}

bool ifd_open(Ifd *ifd, const uint8_t *bytes, size_t n) {
  if (n < 8) return false;
  *ifd = (Ifd){.bytes = bytes, .n = n, .little = bytes[0] == 'I'};
  if (memcmp(bytes, ifd->little ? "II" : "MM", 2) != 0) return false;
  uint64_t version = number(ifd, 2, 2);
  ifd->big = version == BIG_TIFF;
  if ((version != TIFF && !ifd->big) || n < (ifd->big ? 16 : 8)) return false;
  ifd->first = ifd->big ? number(ifd, 8, 8) : number(ifd, 4, 4);
  return true;
}

/* Where the entries of a directory begin, and how many of them lie inside the file. */
static size_t entries_of(const Ifd *ifd, uint64_t at, uint64_t *count) {
  size_t head = ifd->big ? 8 : 2, entry = ifd->big ? 20 : 12;
  *count = 0;
  if (at > ifd->n || ifd->n - at < head) return 0;
  size_t start = (size_t)at + head;
  *count = number(ifd, (size_t)at, head);
  if (*count > (ifd->n - start) / entry) *count = (ifd->n - start) / entry;
  return start;
}

uint32_t ifd_value(const Ifd *ifd, uint64_t at, unsigned tag, uint32_t none) {
  uint64_t count;
  size_t e = entries_of(ifd, at, &count), wide = ifd->big ? 8 : 4;
  for (uint64_t i = 0; i < count; i++, e += 4 + 2 * wide) {
    if (number(ifd, e, 2) != tag) continue;
    uint64_t type = number(ifd, e + 2, 2);
    if (number(ifd, e + 4, wide) != 1 || (type != SHORT && type != LONG)) return none;
    return (uint32_t)number(ifd, e + 4 + wide, type == SHORT ? 2 : 4);
  }
  return none;
}

uint64_t ifd_next(const Ifd *ifd, uint64_t at) {
  uint64_t count;
  size_t e = entries_of(ifd, at, &count), wide = ifd->big ? 8 : 4;
  e += (size_t)count * (4 + 2 * wide);
  return e > 0 && ifd->n - e >= wide ? number(ifd, e, wide) : 0;
}

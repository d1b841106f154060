/* Exif is a TIFF file without pictures (image/ifd.h). */
#include "image/exif.h"

#include <string.h>

#include "image/ifd.h"

enum { ORIENTATION = 0x0112 };

int exif_orientation(const uint8_t *bytes, size_t n) {
  if (n >= 6 && memcmp(bytes, "Exif", 5) == 0) {
    bytes += 6;
    n -= 6;
  }
  Ifd ifd;
  if (!ifd_open(&ifd, bytes, n) || ifd.big) return 1;
  uint32_t v = ifd_value(&ifd, ifd.first, ORIENTATION, 1);
  return v >= 1 && v <= 8 ? (int)v : 1;
}

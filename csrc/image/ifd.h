/* The directories of a TIFF file, which Exif is one of: after a header of byte order,
 * version and the place of the first, each has entries of tag, type, count and value,
 * and then the place of the next. */
#ifndef CGLOW_IMAGE_IFD_H
#define CGLOW_IMAGE_IFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Ifd {
  const uint8_t *bytes;
  size_t n;
  bool little;    /* least significant byte first */
  bool big;       /* BigTIFF: places and counts have 8 bytes */
  uint64_t first; /* where the first directory is */
} Ifd;

/* false when the bytes do not begin as a TIFF does. */
bool ifd_open(Ifd *ifd, const uint8_t *bytes, size_t n);

/* The whole number that the directory at `at` has under a tag; `none` when there is no
 * such entry, or it is no single whole number. */
uint32_t ifd_value(const Ifd *ifd, uint64_t at, unsigned tag, uint32_t none);

/* Where the next directory is, 0 when there is none. */
uint64_t ifd_next(const Ifd *ifd, uint64_t at);

#endif

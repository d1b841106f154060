/* TIFF: what is read of the file's description (tiff_layout.c) and how its pixels are
 * (tiff.c). */
#ifndef CGLOW_IMAGE_TIFF_H
#define CGLOW_IMAGE_TIFF_H

#include <tiffio.h>

#include "image/codec.h"

typedef struct TiffReader {
  TIFF *tiff;
  const uint8_t *bytes;
  size_t n, at;
  ImageError *error;
  bool failed;  /* libtiff has reported an error */
  bool reading; /* pixels: warnings are errors now */
  bool raw;
  ImageHeader header;
  const ImageSink *sink;
  uint32_t width, height;
  uint16_t bits, stored; /* of a sample; samples a pixel in the file */
  uint16_t photometric, compression;
  bool separate;      /* a plane for each sample */
  bool extra_unsaid;  /* the file does not say what samples beyond the colours are */
  bool premultiplied; /* colours are times alpha in the file */
  bool by_libtiff;    /* its own conversion to 8-bit RGB is used */
  uint16_t *map[3];   /* a palette */
  unsigned map_shift;
} TiffReader;

/* Read the tags of the current page into the reader and its header; false, with the
 * reason, when it is of a kind that is not read. */
bool tiff_describe(TiffReader *r);

#endif

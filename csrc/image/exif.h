/* The one fact of an Exif block that an image reader needs. */
#ifndef CGLOW_IMAGE_EXIF_H
#define CGLOW_IMAGE_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* Orientation, 1 to 8 (Exif 2.32, tag 0x0112), of a block as JPEG's APP1 holds
 * it (after "Exif" and two bytes) or PNG's eXIf (without them).  1, upright,
 * when the block has none, or is damaged: that is what viewers do. */
int exif_orientation(const uint8_t *bytes, size_t n);

#endif

/* Numbers as files and other programs have them: little-endian, in formats of one to
 * eight bytes. */
#ifndef CGLOW_BASE_FORMATS_H
#define CGLOW_BASE_FORMATS_H

#include "base/real.h"

typedef enum Format {
  FORMAT_F32,
  FORMAT_F64,
  FORMAT_F16,
  FORMAT_BF16,
  FORMAT_U8,
  FORMAT_I8,
  FORMAT_U16,
  FORMAT_I16,
  FORMAT_U32,
  FORMAT_I32,
  FORMAT_U64,
  FORMAT_I64,
} Format;

/* Their names as in safetensors files, in the order of the enum; NULL at the end. */
extern const char *const format_names[];
size_t format_size(Format f);

/* n numbers out of their bytes, rounded to the nearest that `real` has.  Returns n, or
 * the index of the first one that is too large for it. */
size_t format_decode(Format f, const void *from, real *to, size_t n);

/* n numbers to bytes.  Formats of fractions round to nearest, ties to even; the others
 * take whole numbers only.  Returns n, or the index of the first one that is no such
 * number or too large. */
size_t format_encode(Format f, const real *from, void *to, size_t n);

#endif

/* Numbers as files and other programs have them. */
#include "base/formats.h"

#include <math.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers go between memory and little-endian bytes as they are"
#endif

/* Whole numbers from lo to below end. */
#define WHOLE(name, type, lo, end)                                    \
  static size_t decode_##name(const char *from, real *to, size_t n) { \
    for (size_t i = 0; i < n; i++) {                                  \
      type v;                                                         \
      memcpy(&v, from + i * sizeof v, sizeof v);                      \
      to[i] = (real)v;                                                \
    }                                                                 \
    return n;                                                         \
  }                                                                   \
  static size_t encode_##name(const real *from, char *to, size_t n) { \
    for (size_t i = 0; i < n; i++) {                                  \
      double x = from[i];                                             \
      if (!(x >= (lo) && x < (end) && x == floor(x))) return i;       \
      type v = (type)x;                                               \
      memcpy(to + i * sizeof v, &v, sizeof v);                        \
    }                                                                 \
    return n;                                                         \
  }

WHOLE(u8, uint8_t, 0, 256.0)
WHOLE(i8, int8_t, -128.0, 128.0)
WHOLE(u16, uint16_t, 0, 65536.0)
WHOLE(i16, int16_t, -32768.0, 32768.0)
WHOLE(u32, uint32_t, 0, 4294967296.0)
WHOLE(i32, int32_t, -2147483648.0, 2147483648.0)
WHOLE(u64, uint64_t, 0, 18446744073709551616.0)
WHOLE(i64, int64_t, -9223372036854775808.0, 9223372036854775808.0)

/* A finite number that became infinite is too large. */
static bool too_large(double before, double after) {
  return before - before == 0 && after - after != 0;
}

#define WITH_FRACTIONS(name, type)                                    \
  static size_t decode_##name(const char *from, real *to, size_t n) { \
    for (size_t i = 0; i < n; i++) {                                  \
      type v;                                                         \
      memcpy(&v, from + i * sizeof v, sizeof v);                      \
      to[i] = (real)v;                                                \
      if (too_large((double)v, to[i])) return i;                      \
    }                                                                 \
    return n;                                                         \
  }                                                                   \
  static size_t encode_##name(const real *from, char *to, size_t n) { \
    for (size_t i = 0; i < n; i++) {                                  \
      type v = (type)from[i];                                         \
      if (too_large(from[i], v)) return i;                            \
      memcpy(to + i * sizeof v, &v, sizeof v);                        \
    }                                                                 \
    return n;                                                         \
  }

WITH_FRACTIONS(f32, float)
WITH_FRACTIONS(f64, double)

/* Two bytes: a sign, an exponent that is `bias` too large, and `digits` binary digits of
 * the fraction. */
ALWAYS_INLINE double widen(uint16_t bits, int digits, int bias) {
  int exponent = (bits & 0x7fff) >> digits, fraction = bits & ((1 << digits) - 1);
  double v;
  if (exponent == 2 * bias + 1)
    v = fraction != 0 ? NAN : HUGE_VAL;
  else if (exponent == 0)
    v = ldexp(fraction, 1 - bias - digits);
  else
    v = ldexp(fraction + (1 << digits), exponent - bias - digits);
  return bits & 0x8000 ? -v : v;
}

/* A fraction that is rounded up to the next power of 2 carries into the exponent by
 * itself, and the largest exponent into the bits of infinity. */
ALWAYS_INLINE uint16_t narrow(double x, int digits, int bias) {
  uint32_t sign = signbit(x) ? 0x8000 : 0, infinite = (uint32_t)(2 * bias + 1) << digits;
  double a = fabs(x);
  if (x != x) return (uint16_t)(sign | infinite | 1u << (digits - 1));
  if (a >= ldexp(1, bias + 1)) return (uint16_t)(sign | infinite);
  int exponent = a < ldexp(1, 1 - bias) ? 1 - bias : ilogb(a);
  uint32_t fraction = (uint32_t)nearbyint(ldexp(a, digits - exponent));
  return (uint16_t)(sign | (((uint32_t)(exponent + bias) << digits) + fraction -
                            (1u << digits)));
}

#define TWO_BYTES(name, digits, bias)                                 \
  static size_t decode_##name(const char *from, real *to, size_t n) { \
    for (size_t i = 0; i < n; i++) {                                  \
      uint16_t bits;                                                  \
      memcpy(&bits, from + i * sizeof bits, sizeof bits);             \
      to[i] = (real)widen(bits, digits, bias);                        \
    }                                                                 \
    return n;                                                         \
  }                                                                   \
  static size_t encode_##name(const real *from, char *to, size_t n) { \
    for (size_t i = 0; i < n; i++) {                                  \
      uint16_t bits = narrow(from[i], digits, bias);                  \
      if (too_large(from[i], widen(bits, digits, bias))) return i;    \
      memcpy(to + i * sizeof bits, &bits, sizeof bits);               \
    }                                                                 \
    return n;                                                         \
  }

TWO_BYTES(f16, 10, 15)
TWO_BYTES(bf16, 7, 127)

static const struct {
  size_t size;
  size_t (*decode)(const char *from, real *to, size_t n);
  size_t (*encode)(const real *from, char *to, size_t n);
} formats[] = {
    {4, decode_f32, encode_f32}, {8, decode_f64, encode_f64},
    {2, decode_f16, encode_f16}, {2, decode_bf16, encode_bf16},
    {1, decode_u8, encode_u8},   {1, decode_i8, encode_i8},
    {2, decode_u16, encode_u16}, {2, decode_i16, encode_i16},
    {4, decode_u32, encode_u32}, {4, decode_i32, encode_i32},
    {8, decode_u64, encode_u64}, {8, decode_i64, encode_i64},
};

const char *const format_names[] = {"F32", "F64", "F16", "BF16", "U8",  "I8", "U16",
                                    "I16", "U32", "I32", "U64",  "I64", NULL};

size_t format_size(Format f) { return formats[f].size; }

size_t format_decode(Format f, const void *from, real *to, size_t n) {
  return formats[f].decode(from, to, n);
}

size_t format_encode(Format f, const real *from, void *to, size_t n) {
  return formats[f].encode(from, to, n);
}

/* CRC-32C over the reflected polynomial 0x82F63B78.  The portable version
 * takes eight bytes at a time through eight tables (Kounavis and Berry, "A
 * systematic approach to building high performance, software-based, CRC
 * generators", 2005). */
#include "io/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82F63B78u

/* table[k][b]: what byte b does to the checksum k bytes later. */
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void) {
  for (uint32_t b = 0; b < 256; b++) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
    table[0][b] = crc;
  }
  for (int k = 1; k < 8; k++)
    for (int b = 0; b < 256; b++)
      table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t n) {
  pthread_once(&table_once, fill_table);
  const uint8_t *p = bytes;
  crc = ~crc;
  for (; n >= 8; n -= 8, p += 8) {
    crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
    crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^
          table[4][crc >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
          table[0][p[7]];
  }
  for (; n > 0; n--, p++) crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
  return ~crc;
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc,
                                                               const void *bytes,
                                                               size_t n) {
  const uint8_t *p = bytes;
  uint64_t c = ~crc;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    c = _mm_crc32_u64(c, word);
  }
  uint32_t tail = (uint32_t)c;
  for (; n > 0; n--, p++) tail = _mm_crc32_u8(tail, *p);
  return ~tail;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t n) {
  return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(crc, bytes, n)
                                          : crc32c_portable(crc, bytes, n);
}

#else

uint32_t crc32c(uint32_t crc, const void *bytes, size_t n) {
  return crc32c_portable(crc, bytes, n);
}

#endif

/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011, section 3.3 and table 2).  The counter is the block's
 * position, the key the seed. */
#include "math/rng.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"

#define PER_BLOCK (sizeof(real) == 4 ? 4 : 2) /* numbers from four 32-bit words */
#define RNG_LANES 64                          /* blocks computed side by side */
#define RNG_CHUNK 8192                        /* blocks per piece of parallel work */

ALWAYS_INLINE void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
    uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
    c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
    c[1] = (uint32_t)p1;
    c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
    c[3] = (uint32_t)p0;
    k0 += 0x9E3779B9u; /* golden ratio */
    k1 += 0xBB67AE85u; /* sqrt(3) − 1 */
  }
}

/* word[j][i] = word j of block first + i, for i < blocks <= RNG_LANES. */
ALWAYS_INLINE void philox_lanes(uint64_t seed, uint64_t first, size_t blocks,
                                uint32_t word[4][RNG_LANES]) {
  for (size_t i = 0; i < blocks; i++) {
    uint64_t at = first + i;
    uint32_t c[4] = {(uint32_t)at, (uint32_t)(at >> 32), 0, 0};
    philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
    for (int j = 0; j < 4; j++) word[j][i] = c[j];
  }
}

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  memcpy(out, counter, 4 * sizeof *out);
  philox(out, key[0], key[1]);
}

void rng_seed(Rng *r, uint64_t seed) {
  r->seed = seed;
  r->position = 0;
}

void rng_block(Rng *r, uint32_t out[4]) {
  uint64_t at = r->position++;
  uint32_t counter[4] = {(uint32_t)at, (uint32_t)(at >> 32), 0, 0};
  uint32_t key[2] = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)};
  rng_philox(counter, key, out);
}

uint64_t rng_below(Rng *r, uint64_t bound) {
  uint64_t reject = -bound % bound; /* 2^64 mod bound: the biased numbers */
  uint64_t x;
  do {
    uint32_t w[4];
    rng_block(r, w);
    x = (uint64_t)w[1] << 32 | w[0];
  } while (x < reject);
  return x % bound;
}

#ifdef CGLOW_DOUBLE

ALWAYS_INLINE double unit(uint32_t low, uint32_t high) {
  return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

ALWAYS_INLINE void uniform_lanes(uint32_t word[4][RNG_LANES], size_t blocks, real *out) {
  for (size_t i = 0; i < blocks; i++)
    for (int j = 0; j < 2; j++) out[2 * i + j] = unit(word[2 * j][i], word[2 * j + 1][i]);
}

ALWAYS_INLINE void normal_lanes(uint32_t word[4][RNG_LANES], size_t blocks, real *out) {
  for (size_t i = 0; i < blocks; i++) {
    double u = unit(word[0][i], word[1][i]) + 0x1p-53; /* in (0, 1] */
    double angle = 2 * M_PI * unit(word[2][i], word[3][i]);
    double radius = sqrt(-2 * log(u));
    out[2 * i] = radius * cos(angle);
    out[2 * i + 1] = radius * sin(angle);
  }
}

#else

ALWAYS_INLINE void uniform_lanes(uint32_t word[4][RNG_LANES], size_t blocks, real *out) {
  for (size_t i = 0; i < blocks; i++)
    for (int j = 0; j < 4; j++)
      out[4 * i + j] = (float)(int32_t)(word[j][i] >> 8) * 0x1p-24f;
}

/* sqrt(−2 ln u) for u = (k + 1)/2^31, k the upper 31 bits of word.  With
 * u = m·2^e, m in [sqrt(1/2), sqrt(2)), and s = (m − 1)/(m + 1):
 * ln u = e·ln 2 + 2·artanh(s), whose series to s^9 leaves less than 1e-9. */
ALWAYS_INLINE float normal_radius(uint32_t word) {
  const uint32_t root_half = 0x3F3504F3u; /* bits of sqrt(1/2) */
  float u = ((float)(int32_t)(word >> 1) + 1.0f) * 0x1p-31f;
  uint32_t bits;
  memcpy(&bits, &u, sizeof bits);
  int32_t e = (int32_t)(bits - root_half) >> 23;
  bits -= (uint32_t)e << 23;
  float m;
  memcpy(&m, &bits, sizeof m);
  float s = (m - 1.0f) / (m + 1.0f), q = s * s;
  float series =
      s + s * q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9))));
  float minus_log = -0.69314718f * (float)e - 2.0f * series;
  return sqrtf(2.0f * (minus_log > 0.0f ? minus_log : 0.0f));
}

/* Sine and cosine of word/2^32 turns.  The angle is a whole number of quarter
 * turns plus at most an eighth, where Taylor series to degree 9 and 10 are
 * exact to the last bit but one. */
ALWAYS_INLINE void normal_direction(uint32_t word, float *sine, float *cosine) {
  const float shift = 12582912.0f; /* 1.5·2^23: adding it rounds to an integer */
  float quarters = (float)(int32_t)word * 0x1p-30f;
  float whole = (quarters + shift) - shift;
  float a = (quarters - whole) * 1.57079633f, q = a * a;
  float s =
      a +
      a * q * (-1.0f / 6 + q * (1.0f / 120 + q * (-1.0f / 5040 + q * (1.0f / 362880))));
  float c =
      1.0f +
      q * (-0.5f + q * (1.0f / 24 +
                        q * (-1.0f / 720 + q * (1.0f / 40320 + q * (-1.0f / 3628800)))));
  int32_t n = (int32_t)whole;
  float ss = n & 1 ? c : s, cc = n & 1 ? s : c;
  *sine = n & 2 ? -ss : ss;
  *cosine = (n + 1) & 2 ? -cc : cc;
}

/* Box-Muller: words 0 and 1 give numbers 0 and 1, words 2 and 3 the others. */
ALWAYS_INLINE void normal_lanes(uint32_t word[4][RNG_LANES], size_t blocks, real *out) {
  float z[4][RNG_LANES];
  for (int j = 0; j < 4; j += 2)
    for (size_t i = 0; i < blocks; i++) {
      float s, c, radius = normal_radius(word[j][i]);
      normal_direction(word[j + 1][i], &s, &c);
      z[j][i] = radius * c;
      z[j + 1][i] = radius * s;
    }
  for (size_t i = 0; i < blocks; i++)
    for (int j = 0; j < 4; j++) out[4 * i + j] = z[j][i];
}

#endif

CLONES static void uniform_blocks(uint64_t seed, uint64_t first, size_t blocks,
                                  real *out) {
  uint32_t word[4][RNG_LANES];
  for (size_t b = 0; b < blocks; b += RNG_LANES) {
    size_t lanes = blocks - b < RNG_LANES ? blocks - b : RNG_LANES;
    philox_lanes(seed, first + b, lanes, word);
    uniform_lanes(word, lanes, out + b * PER_BLOCK);
  }
}

CLONES static void normal_blocks(uint64_t seed, uint64_t first, size_t blocks,
                                 real *out) {
  uint32_t word[4][RNG_LANES];
  for (size_t b = 0; b < blocks; b += RNG_LANES) {
    size_t lanes = blocks - b < RNG_LANES ? blocks - b : RNG_LANES;
    philox_lanes(seed, first + b, lanes, word);
    normal_lanes(word, lanes, out + b * PER_BLOCK);
  }
}

typedef void Blocks(uint64_t seed, uint64_t first, size_t blocks, real *out);

static void fill(Rng *r, real *out, size_t n, Blocks *make) {
  size_t blocks = n / PER_BLOCK, rest = n % PER_BLOCK;
  size_t chunks = (blocks + RNG_CHUNK - 1) / RNG_CHUNK;
#pragma omp parallel for schedule(static) num_threads(parallel_threads()) if (chunks > 4)
  for (size_t c = 0; c < chunks; c++) {
    size_t first = c * RNG_CHUNK, left = blocks - first;
    make(r->seed, r->position + first, left < RNG_CHUNK ? left : RNG_CHUNK,
         out + first * PER_BLOCK);
  }
  r->position += blocks;
  if (rest == 0) return;
  real last[PER_BLOCK];
  make(r->seed, r->position++, 1, last);
  memcpy(out + blocks * PER_BLOCK, last, rest * sizeof *out);
}

void rng_uniform(Rng *r, real *out, size_t n) { fill(r, out, n, uniform_blocks); }

void rng_normal(Rng *r, real *out, size_t n) { fill(r, out, n, normal_blocks); }

void rng_normal_pairs(Rng *r, real *out, size_t pairs, size_t n) {
  rng_normal(r, out, pairs * n);
  for (size_t row = pairs; row-- > 0;) { /* from the end: none is overwritten unread */
    const real *drawn = out + row * n;
    real *first = out + 2 * row * n, *second = first + n;
    for (size_t i = 0; i < n; i++) {
      real v = drawn[i];
      second[i] = -v;
      first[i] = v;
    }
  }
}

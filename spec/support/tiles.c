/* The kernels of AMX on a model of its tiles, for processors that have none: `make tiles`
 * links them in the place of math/isa/amx.c.
 *
 * The model is Intel's description of the instructions (Software Developer's Manual,
 * volume 2: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TDPBF16PS), one thread's tiles.
 * What would fault or multiply what was never loaded ends the program. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/real.h"
#include "base/tiles.h"

bool tiles_permitted(void) { return true; }

#define MODEL_TILES 8
#define MODEL_ROWS 16
#define MODEL_BYTES 64

typedef struct ModelTile {
  int rows, row_bytes;
  bool loaded; /* or zeroed */
  unsigned char bytes[MODEL_ROWS][MODEL_BYTES];
} ModelTile;

static _Thread_local ModelTile tile[MODEL_TILES];
static _Thread_local bool shaped;

static void must(bool so, const char *what) {
  if (so) return;
  fprintf(stderr, "tiles: %s\n", what);
  abort();
}

static ModelTile *model_tile(int t) {
  must(shaped, "no shapes are loaded");
  must(t >= 0 && t < MODEL_TILES && tile[t].rows > 0, "no such tile");
  return &tile[t];
}

static void model_shapes(const void *from) {
  const unsigned char *p = from;
  must(!shaped, "the last ones who used them did not release them");
  must(p[0] == 1, "palette 1 is the only one");
  for (int i = 1; i < 16; i++) must(p[i] == 0, "reserved bytes and the first row are 0");
  for (int t = 0; t < 16; t++) {
    uint16_t bytes;
    memcpy(&bytes, p + 16 + 2 * t, sizeof bytes);
    if (t < MODEL_TILES) {
      must(bytes <= MODEL_BYTES && p[48 + t] <= MODEL_ROWS, "too large a tile");
      must((bytes == 0) == (p[48 + t] == 0), "rows without bytes, or the reverse");
      tile[t] = (ModelTile){.rows = p[48 + t], .row_bytes = bytes};
    } else {
      must(bytes == 0 && p[48 + t] == 0, "there are eight tiles");
    }
  }
  shaped = true;
}

static void model_release(void) {
  must(shaped, "released twice");
  shaped = false;
}

static void model_zero(int t) {
  memset(model_tile(t)->bytes, 0, sizeof tile->bytes);
  tile[t].loaded = true;
}

static void model_load(int t, const void *p, size_t stride) {
  ModelTile *to = model_tile(t);
  memset(to->bytes, 0, sizeof to->bytes);
  for (int r = 0; r < to->rows; r++)
    memcpy(to->bytes[r], (const char *)p + (size_t)r * stride, (size_t)to->row_bytes);
  to->loaded = true;
}

static void model_store(int t, void *p, size_t stride) {
  const ModelTile *from = model_tile(t);
  must(from->loaded, "nothing to store");
  for (int r = 0; r < from->rows; r++)
    memcpy((char *)p + (size_t)r * stride, from->bytes[r], (size_t)from->row_bytes);
}

/* What is below 2⁻¹²⁶ counts as 0, before and after. */
static inline float no_denormal(float x) {
  return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

/* Factor i of each pair of a row, the even (0) or the odd ones (1). */
static void factors(const unsigned char *row, int i, float *to) {
  for (int n = 0; n < MODEL_BYTES / 4; n++) {
    uint32_t bits;
    memcpy(&bits, row + 4 * n, sizeof bits);
    bits = i == 0 ? bits << 16 : bits & 0xffff0000;
    memcpy(to + n, &bits, sizeof bits);
    to[n] = no_denormal(to[n]);
  }
}

/* A row of sums: of the even and of the odd factors by themselves, then all three together. */
CLONES static void model_row(const ModelTile *right, const unsigned char *left, int pairs,
                             float *sum) {
  float apart[2][MODEL_BYTES / 4] = {{0}}, a[MODEL_BYTES / 4], b[MODEL_BYTES / 4];
  for (int i = 0; i < 2; i++) {
    factors(left, i, a);
    for (int k = 0; k < pairs; k++) {
      factors(right->bytes[k], i, b);
      for (int n = 0; n < MODEL_BYTES / 4; n++)
        apart[i][n] = no_denormal(fmaf(a[k], b[n], apart[i][n]));
    }
  }
  for (int n = 0; n < MODEL_BYTES / 4; n++)
    sum[n] = no_denormal(no_denormal(sum[n]) + no_denormal(apart[0][n] + apart[1][n]));
}

static void model_multiply_add(int c, int a, int b) {
  ModelTile *to = model_tile(c);
  const ModelTile *left = model_tile(a), *right = model_tile(b);
  must(c != a && c != b && a != b, "a tile twice");
  must(to->loaded && left->loaded && right->loaded, "a tile that holds nothing");
  must(left->rows == to->rows && right->row_bytes == to->row_bytes &&
           left->row_bytes / 4 == right->rows,
       "shapes do not fit");
  for (int m = 0; m < to->rows; m++) {
    float sum[MODEL_BYTES / 4];
    memcpy(sum, to->bytes[m], sizeof sum);
    model_row(right, left->bytes[m], left->row_bytes / 4, sum);
    memcpy(to->bytes[m], sum, (size_t)to->row_bytes);
  }
}

/* As math/isa/amx.c. */
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif
#define FOR_ISA(name) name##_amx
#define VECTOR_BYTES 64
#define PRODUCT_ROWS 8
#define NARROW_ROWS 12
#define WIDEN_ROWS 8
#define ROUNDED
#define FACTORS 2
#define TILES
#define TILE_SHAPES(p) model_shapes(p)
#define TILE_RELEASE() model_release()
#define TILE_ZERO(t) model_zero(t)
#define TILE_LOAD(t, p, ld) model_load(t, p, (ld) * sizeof(real))
#define TILE_STORE(t, p, ld) model_store(t, p, (ld) * sizeof(real))
#define TILE_MULTIPLY_ADD(sums, left, right) model_multiply_add(sums, left, right)
#define TILE_FENCE() (void)0
#define KERNEL_BEGINS \
  TilesInUse use __attribute__((unused, cleanup(tiles_end))) = tiles_begin()
#include "math/isa/products.h"

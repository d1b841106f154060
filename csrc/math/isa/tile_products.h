/* Products of rounded operands by AMX: on tiles, registers of 16 rows of 64 bytes.
 *
 * An instruction multiplies 16 rows of 16 pairs with 16 rows of pairs of 16 columns and
 * adds to 16×16 sums, in float.  It has sums of its own for the first and for the second
 * factors of pairs, so the order of sums is another than that of the other kernels; what
 * is multiplied is the same.  Along k a product is cut into slots of 32 factors, or of a
 * run of the left factor where that is 16 long: a sum that is cut between slots gives the
 * same bits.
 *
 * A block of at most 32×32 sums lies in the tiles 0 to 3.  Whoever includes this says
 * what the instructions are: TILE_ZERO and the like (math/isa/amx.c).  Tiles are set up
 * for the time of a kernel: a thread that holds none costs nobody anything. */
#include "math/isa/transpose_square.h"

#define TILE ((size_t)16) /* rows, and numbers in a row */
#define SLOT (2 * TILE)
#define SLOTS (SOME_FACTORS / SLOT)

typedef struct Tiles {
  _Alignas(64) real right[SLOTS * TILE * PANEL];
  _Alignas(64) real left[2 * TILE * LEFT_ROW];
  _Alignas(64) real columns[TILE * LEFT_COLUMN];
  _Alignas(64) real sums[PANEL * PANEL];
} Tiles;

/* ---- for the time of a kernel ---- */

typedef struct TileShapes {
  uint8_t palette, first_row, unused[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} TileShapes;

#define EIGHT(n) n, n, n, n, n, n, n, n

typedef struct TilesInUse {
  char unused;
} TilesInUse;

static inline TilesInUse tiles_begin(void) {
  static const TileShapes shapes = {
      .palette = 1, .row_bytes = {EIGHT(64)}, .rows = {EIGHT(TILE)}};
  TILE_SHAPES(&shapes);
  return (TilesInUse){0};
}

static inline void tiles_end(const TilesInUse *use) {
  (void)use;
  TILE_RELEASE();
}

/* ---- operands ---- */

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* A run is 16, 32 or more factors long. */
static inline size_t slot_factors(const Left *a) { return least(a->run, SLOT); }

/* Factors of slot s of k. */
static inline size_t factors_in(size_t s, size_t slot, size_t k) {
  return least(k - s * slot, slot);
}

static inline const real *left_at(const Left *a, size_t k) {
  return a->run > k ? a->p + k * a->col
                    : a->p + k / a->run * a->jump + k % a->run * a->col;
}

/* Behind a slot's n pairs are zeros, in both factors: garbage may be NaN, and that times 0
 * is not 0. */
static inline void zero(real *p, size_t n) { memset(p, 0, n * sizeof *p); }

static inline size_t pairs_in(size_t factors) { return (factors + 1) / 2; }

ALWAYS_INLINE void tiles_of_right(size_t k, size_t slot, size_t columns, Right b,
                                  real *to) {
  for (size_t s = 0; s * slot < k; s++, b.p += slot * b.ld, to += TILE * PANEL) {
    size_t n = factors_in(s, slot, k);
    if (columns > LANES)
      round_right(2, n, b, to);
    else
      round_right(1, n, b, to);
    zero(to + pairs_in(n) * PANEL, (TILE - pairs_in(n)) * PANEL);
  }
}

/* Where a tile of the left factor lies: slot s, half h of the rows. */
typedef struct LeftTiles {
  const real *p;
  size_t slot, half, ld;
} LeftTiles;

/* Rows whose factors follow each other, as rows. */
static LeftTiles tiles_of_rows(size_t rows, size_t k, size_t slot, Left a, real *to) {
  for (size_t s = 0; s * slot < k; s++) {
    size_t n = factors_in(s, slot, k), pairs = pairs_in(n);
    round_rows(rows, n, left_rows(left_at(&a, s * slot), a.row), to + s * TILE, LEFT_ROW);
    for (size_t r = 0; pairs < TILE && r < rows; r++)
      zero(to + r * LEFT_ROW + s * TILE + pairs, TILE - pairs);
  }
  for (size_t r = rows; r % TILE != 0; r++) zero(to + r * LEFT_ROW, LEFT_ROW);
  return (LeftTiles){to, TILE, TILE * LEFT_ROW, LEFT_ROW};
}

/* Columns that follow each other: 16 at a time, slot by slot. */
static LeftTiles tiles_of_columns(size_t rows, size_t k, size_t slot, Left a, Tiles *t) {
  for (size_t s = 0; s * slot < k; s++)
    for (size_t r = 0; r < rows; r += TILE) {
      size_t n = factors_in(s, slot, k);
      zero(t->columns, TILE * LEFT_COLUMN);
      round_columns(least(rows - r, TILE), n,
                    left_columns(left_at(&a, s * slot) + r, a.col), t->columns);
      transpose_square(t->columns, LEFT_COLUMN, TILE, t->left + s * TILE * PANEL + r);
    }
  return (LeftTiles){t->left, TILE * PANEL, TILE, PANEL};
}

/* ---- sums ---- */

/* A block of c, at most 32×32. */
typedef struct Sums {
  size_t rows, columns;
  real *c;
  size_t ld;
} Sums;

static inline bool whole_tiles(const Sums *s) {
  return s->rows % TILE == 0 && s->columns % TILE == 0;
}

#define FOR_TILES(s, what, p, ld)                                                       \
  do {                                                                                  \
    what(0, p, ld);                                                                     \
    if ((s)->columns > TILE) what(1, (p) + TILE, ld);                                   \
    if ((s)->rows > TILE) what(2, (p) + TILE * (ld), ld);                               \
    if ((s)->rows > TILE && (s)->columns > TILE) what(3, (p) + TILE * (ld) + TILE, ld); \
  } while (0)

static void begin_sums(const Sums *s, const real *start, real *room) {
  const real *from = s->c;
  size_t ld = s->ld;
  if (start == NULL) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    return;
  }
  if (start != s->c || !whole_tiles(s)) {
    memset(room, 0, PANEL * PANEL * sizeof *room);
    for (size_t r = 0; r < s->rows; r++)
      for (size_t l = 0; l < s->columns; l++)
        room[r * PANEL + l] = start == s->c ? s->c[r * s->ld + l] : start[r];
    from = room, ld = PANEL;
  }
  TILE_FENCE();
  FOR_TILES(s, TILE_LOAD, from, ld);
}

static void end_sums(const Sums *s, real *room) {
  if (whole_tiles(s)) {
    FOR_TILES(s, TILE_STORE, s->c, s->ld);
    TILE_FENCE();
    return;
  }
  FOR_TILES(s, TILE_STORE, room, PANEL);
  TILE_FENCE();
  for (size_t r = 0; r < s->rows; r++)
    memcpy(s->c + r * s->ld, room + r * PANEL, s->columns * sizeof *room);
}

/* Sums (+)= products of `slots` slots. */
static void multiply_tiles(const Sums *s, size_t slots, LeftTiles a, const real *right) {
  TILE_FENCE();
  for (; slots > 0; slots--, a.p += a.slot, right += TILE * PANEL) {
    TILE_LOAD(4, a.p, a.ld);
    TILE_LOAD(6, right, PANEL);
    TILE_MULTIPLY_ADD(0, 4, 6);
    if (s->columns > TILE) {
      TILE_LOAD(7, right + TILE, PANEL);
      TILE_MULTIPLY_ADD(1, 4, 7);
    }
    if (s->rows <= TILE) continue;
    TILE_LOAD(5, a.p + a.half, a.ld);
    TILE_MULTIPLY_ADD(2, 5, 6);
    if (s->columns > TILE) TILE_MULTIPLY_ADD(3, 5, 7);
  }
}

/* As many rounds of prefetching as a block of other kernels has. */
static void prefetch_rounds(Prefetch *f, size_t rounds) {
  const char *later = f->p;
  for (; rounds > 0; rounds--, later += f->step) __builtin_prefetch(later, 0, 2);
  prefetch_advance(f, later);
}

/* m rows of at most 32 columns, of k ≤ SOME_FACTORS factors; the right one is in tiles.
 */
static void tile_strip(size_t m, size_t columns, size_t k, Left a, const real *start,
                       real *c, size_t ldc, Tiles *t, Prefetch *f) {
  const size_t slot = slot_factors(&a), slots = (k + slot - 1) / slot;
  for (size_t rows; m > 0; m -= rows, a.p += rows * a.row, c += rows * ldc) {
    rows = least(m, 2 * TILE);
    Sums sums = {rows, columns, c, ldc};
    LeftTiles left = a.col == 1 ? tiles_of_rows(rows, k, slot, a, t->left)
                                : tiles_of_columns(rows, k, slot, a, t);
    begin_sums(&sums, start, t->sums);
    multiply_tiles(&sums, slots, left, t->right);
    end_sums(&sums, t->sums);
    if (start != NULL) start += start == c ? rows * ldc : rows;
    if (f != NULL) prefetch_rounds(f, product_rounds(rows, columns, k));
  }
}

ALWAYS_INLINE void product_prefetching(const int rows, const int vectors, size_t m,
                                       size_t n, size_t k, Left a, Right b,
                                       const real *start, real *c, size_t ldc,
                                       Prefetch *f) {
  (void)rows, (void)vectors;
  Tiles t;
  const size_t slot = slot_factors(&a);
  for (size_t j = 0; j < n; j += PANEL, b.p += PANEL) {
    const real *from = start == c ? c + j : start;
    size_t columns = least(n - j, PANEL);
    for (size_t i = 0, some; i < k || i == 0; i += some, from = c + j) {
      Left rest = a;
      Right right = b;
      rest.p = left_at(&a, i);
      right.p += i * b.ld;
      some = least(k - i, SLOTS * slot);
      tiles_of_right(some, slot, columns, right, t.right);
      tile_strip(m, columns, some, rest, from, c + j, ldc, &t, f);
      if (some == 0) break;
    }
  }
}

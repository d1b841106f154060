/* Products of bfloat16 for processors with AMX, which have AVX512_BF16, too.
 *
 * The compiler knows that the instructions change memory and tiles, not which: TILE_FENCE
 * keeps what it does itself before or after them. */
#include "base/isa.h"

#if HAVE_AMX
#pragma GCC target("arch=x86-64-v4,avx512bf16,amx-tile,amx-bf16")
#include <immintrin.h>
#define FOR_ISA(name) name##_amx
#define VECTOR_BYTES 64
#define PRODUCT_ROWS 8
#define NARROW_ROWS 12
#define WIDEN_ROWS 8
#define ROUNDED
#define FACTORS 2
#define TILES
#define TILE_SHAPES(p) _tile_loadconfig(p)
#define TILE_RELEASE() _tile_release()
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, p, ld) _tile_loadd(t, p, (ld) * sizeof(real))
#define TILE_STORE(t, p, ld) _tile_stored(t, p, (ld) * sizeof(real))
#define TILE_MULTIPLY_ADD(sums, left, right) _tile_dpbf16ps(sums, left, right)
#define TILE_FENCE() __asm__ volatile("" ::: "memory")
#define KERNEL_BEGINS \
  TilesInUse use __attribute__((unused, cleanup(tiles_end))) = tiles_begin()
#include "math/isa/products.h"
#endif

/* Products of matrices, one or many, on all threads. */
#include "math/matmul.h"

#include "base/threads.h"
#include "math/broadcast.h"
#include "math/gemm.h"
#include "math/gemv.h"

/* A piece for a thread: large enough that packing its columns costs little. */
#define PIECE_ROWS ((size_t)128)
#define PIECE_WIDTH ((size_t)256)
/* Multiplications that are worth waking threads for. */
#define WORTH_THREADS ((size_t)1 << 18)

static size_t pieces(size_t n, size_t size) { return (n + size - 1) / size; }
static size_t at_most(size_t n, size_t most) { return n < most ? n : most; }

/* Rows i .. and columns j .. of one product. */
static void piece(real *out, const real *a, const real *b, const size_t size[3], size_t i,
                  size_t j) {
  size_t n = size[1], k = size[2], rows = at_most(size[0] - i, PIECE_ROWS);
  if (n == 1)
    gemv_transposed(b, a + i * k, 1, rows, k, out + i, rows);
  else
    gemm(PRECISION_FP32, NO_TRANS, NO_TRANS, rows, at_most(n - j, PIECE_WIDTH), k,
         a + i * k, k, b + j, n, NULL, out + i * n + j, n);
}

void matmul(real *out, const real *a, const size_t adim[4], const real *b,
            const size_t bdim[4]) {
  size_t size[3] = {adim[2], bdim[3], adim[3]}, all[4];
  broadcast_shape((size_t[]){adim[0], adim[1], 1, 1}, (size_t[]){bdim[0], bdim[1], 1, 1},
                  all);
  size_t down = pieces(size[0], PIECE_ROWS), across = pieces(size[1], PIECE_WIDTH);
  size_t count = all[0] * all[1], total = count * down * across;
  int threads =
      count * size[0] * size[1] * size[2] < WORTH_THREADS ? 1 : parallel_threads();
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
  for (size_t p = 0; p < total; p++) {
    size_t which = p / (down * across), at = p % (down * across);
    piece(out + which * size[0] * size[1],
          a + broadcast_offset(adim, all, which, size[0] * size[2]),
          b + broadcast_offset(bdim, all, which, size[2] * size[1]), size,
          at / across * PIECE_ROWS, at % across * PIECE_WIDTH);
  }
}

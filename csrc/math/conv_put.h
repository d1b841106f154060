/* What becomes of a convolution's result as it is put down, while it is in cache: a loop
 * over all of it afterwards would read it from memory again, and wait for all threads. */
#ifndef CGLOW_MATH_CONV_PUT_H
#define CGLOW_MATH_CONV_PUT_H

#include "base/act.h"

typedef enum {
  PUT_PLAIN,
  PUT_RELU,      /* relu(result) */
  PUT_BESIDE,    /* result, and relu of it in `other` */
  PUT_ADD_RELU,  /* relu(result + other) */
  PUT_MASKED,    /* result where other > 0, else 0 */
  PUT_ADD_MASKED /* out + result where other > 0, else out */
} PutHow;

typedef struct Put {
  PutHow how;
  Act other;  /* like the output, at any distances */
  real *room; /* for PUT_ADD_MASKED: as many numbers as the output has */
} Put;

static const Put plainly = {.how = PUT_PLAIN};

/* Where a number of `other` lies, NULL where there is none. */
static inline real *put_other(const Put *put, size_t n, size_t c, size_t at) {
  return put->other.data == NULL ? NULL : act_plane(&put->other, n, c) + at;
}

/* Some rows of n numbers, as they are put: `to` may be `from`. */
void put_rows(PutHow how, const real *from, size_t from_step, size_t rows, size_t n,
              real *to, size_t to_step, real *other, size_t other_step);

/* Rows of pixels row0 … of all samples, of channels c0 …, that lie in `from`, at the
 * places of `out` or there itself. */
void put_pixel_rows(const Put *put, const Act *from, const Act *out, size_t c0,
                    size_t channels, size_t row0, size_t rows);

/* All of it, by threads; nothing to do for PUT_PLAIN. */
void put_all(const Put *put, const Act *from, const Act *out, int threads);

#endif

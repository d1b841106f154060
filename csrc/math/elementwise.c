/* Loops over contiguous numbers. */
#include "math/elementwise.h"

#include <math.h>
#include <string.h>

#include "base/vmath.h"

#ifdef CGLOW_DOUBLE
#define F(name) name
#else
#define F(name) name##f
#endif

#define BINARY(name, expression)                                                    \
  CLONES static void name##_tt(real *out, const real *a, const real *b, size_t n) { \
    for (size_t i = 0; i < n; i++) {                                                \
      real x = a[i], y = b[i];                                                      \
      out[i] = expression;                                                          \
    }                                                                               \
  }                                                                                 \
  CLONES static void name##_tn(real *out, const real *a, real y, size_t n) {        \
    for (size_t i = 0; i < n; i++) {                                                \
      real x = a[i];                                                                \
      out[i] = expression;                                                          \
    }                                                                               \
  }                                                                                 \
  CLONES static void name##_nt(real *out, real x, const real *b, size_t n) {        \
    for (size_t i = 0; i < n; i++) {                                                \
      real y = b[i];                                                                \
      out[i] = expression;                                                          \
    }                                                                               \
  }
#define EXPORTED(name, expression) \
  BINARY(name, expression)         \
  const Binary binary_##name = {name##_tt, name##_tn, name##_nt};

EXPORTED(add, x + y)
EXPORTED(sub, x - y)
EXPORTED(mul, x *y)
EXPORTED(div, x / y)
EXPORTED(gt, x > y ? 1 : 0)
EXPORTED(ge, x >= y ? 1 : 0)
EXPORTED(lt, x < y ? 1 : 0)
EXPORTED(le, x <= y ? 1 : 0)
EXPORTED(eq, x == y ? 1 : 0)
EXPORTED(ne, x != y ? 1 : 0)

BINARY(power, F(pow)(x, y))

/* Squares without libm, whose loop no compiler vectorises. */
static void power_or_square(real *out, const real *a, real y, size_t n) {
  if (y == 2)
    mul_tt(out, a, a, n);
  else
    power_tn(out, a, y, n);
}

const Binary binary_pow = {power_tt, power_or_square, power_nt};

#define UNARY(name, expression)                                  \
  CLONES void unary_##name(real *out, const real *a, size_t n) { \
    for (size_t i = 0; i < n; i++) {                             \
      real x = a[i];                                             \
      out[i] = expression;                                       \
    }                                                            \
  }

UNARY(neg, -x)
UNARY(exp, F(exp)(x))
UNARY(log, F(log)(x))
UNARY(abs, F(fabs)(x))
UNARY(sqrt, F(sqrt)(x))
UNARY(round, F(round)(x))
UNARY(floor, F(floor)(x))
UNARY(sign, x > 0 ? 1 : x < 0 ? -1 : x)

/* No CLONES: a fused multiply-add would change the last bits of conditions. */
void unary_tanh(real *out, const real *a, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = v_tanh(a[i]);
}

void unary_sigmoid(real *out, const real *a, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = v_sigmoid(a[i]);
}

CLONES void clamp_range(real *out, const real *a, real lo, real hi, size_t n) {
  for (size_t i = 0; i < n; i++) {
    real x = a[i];
    x = x < lo ? lo : x;
    out[i] = x > hi ? hi : x;
  }
}

CLONES void fill_range(real *out, real v, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = v;
}

CLONES void axpy_range(real *y, const real *x, real scale, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] += scale * x[i];
}

CLONES void join_range(const real *parts, size_t stride, size_t count, size_t nparts,
                       real beta, real *restrict out) {
  for (size_t i = 0; i < count; i++) out[i] = (beta == 0 ? 0 : out[i]) + parts[i];
  for (size_t p = 1; p < nparts; p++)
    for (size_t i = 0; i < count; i++) out[i] += parts[p * stride + i];
}

/* Numbers that a thread joins at a time: they stay in the first-level cache. */
#define JOIN_BLOCK ((size_t)1024)

void join_parts(const real *parts, size_t stride, size_t count, size_t nparts, real beta,
                real *out, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (count > JOIN_BLOCK)
  for (size_t at = 0; at < count; at += JOIN_BLOCK)
    join_range(parts + at, stride, count - at < JOIN_BLOCK ? count - at : JOIN_BLOCK,
               nparts, beta, out + at);
}

/* Sixteen partial sums, so that the loop vectorises without reordering: the
 * result does not depend on the instruction set. */
#define PARTS 16

static double sum_parts(const double part[PARTS]) {
  double s = 0;
  for (int k = 0; k < PARTS; k++) s += part[k];
  return s;
}

CLONES double reduce_sum(const real *a, size_t n) {
  double part[PARTS] = {0};
  size_t whole = n - n % PARTS;
  for (size_t i = 0; i < whole; i += PARTS)
    for (size_t k = 0; k < PARTS; k++) part[k] += a[i + k];
  for (size_t i = whole; i < n; i++) part[i - whole] += a[i];
  return sum_parts(part);
}

CLONES double reduce_squares(const real *a, double centre, size_t n) {
  double part[PARTS] = {0};
  size_t whole = n - n % PARTS;
  for (size_t i = 0; i < whole; i += PARTS)
    for (size_t k = 0; k < PARTS; k++) {
      double d = a[i + k] - centre;
      part[k] += d * d;
    }
  for (size_t i = whole; i < n; i++) {
    double d = a[i] - centre;
    part[i - whole] += d * d;
  }
  return sum_parts(part);
}

CLONES bool all_finite(const real *a, size_t n) {
  int bad = 0;
  for (size_t i = 0; i < n; i++) bad |= !(a[i] - a[i] == 0);
  return !bad;
}

#ifdef CGLOW_DOUBLE
typedef int64_t Bits;
#define ABOVE_SIGN INT64_MAX
#else
typedef int32_t Bits;
#define ABOVE_SIGN INT32_MAX
#endif

/* Without their sign the bits of numbers, read as integers, are ordered as their
 * magnitudes are, infinity after all others and NaN behind it. */
ALWAYS_INLINE void raise_tops(const real *a, size_t n, Bits *top) {
  for (size_t i = 0; i < n; i++) {
    Bits bits;
    memcpy(&bits, a + i, sizeof bits);
    bits &= ABOVE_SIGN;
    top[i] = bits > top[i] ? bits : top[i];
  }
}

#define TOPS ((size_t)32)

CLONES real largest_magnitude(const real *a, size_t rows, size_t n, size_t ld) {
  Bits top[TOPS] = {0};
  for (; rows > 0; rows--, a += ld) {
    size_t j = 0;
    for (; j + TOPS <= n; j += TOPS) raise_tops(a + j, TOPS, top);
    raise_tops(a + j, n - j, top);
  }
  for (size_t i = 1; i < TOPS; i++) top[0] = top[i] > top[0] ? top[i] : top[0];
  real largest;
  memcpy(&largest, top, sizeof largest);
  return largest < (real)HUGE_VAL ? largest : (real)HUGE_VAL;
}

/* Is any of n numbers more extreme than `best`, or NaN? */
CLONES static bool beaten(const real *a, size_t n, bool largest, real best) {
  int any = 0;
  if (largest)
    for (size_t i = 0; i < n; i++) any |= !(a[i] <= best);
  else
    for (size_t i = 0; i < n; i++) any |= !(a[i] >= best);
  return any;
}

#define LOOK ((size_t)256)

size_t extreme_place(const real *a, size_t n, bool largest) {
  size_t best = 0;
  for (size_t at = 0; at < n && a[best] == a[best]; at += LOOK) {
    size_t end = n - at < LOOK ? n : at + LOOK;
    if (!beaten(a + at, end - at, largest, a[best])) continue;
    for (size_t i = at; i < end && a[best] == a[best]; i++)
      if ((largest ? a[i] > a[best] : a[i] < a[best]) || a[i] != a[i]) best = i;
  }
  return best;
}

CLONES bool all_equal(const real *a, const real *b, size_t n) {
  int bad = 0;
  for (size_t i = 0; i < n; i++) bad |= !(a[i] == b[i]);
  return !bad;
}

Summary summarise(const real *a, size_t n) {
  Summary s = {HUGE_VAL, -HUGE_VAL, 0, 0, 0, 0};
  for (size_t i = 0; i < n; i++) {
    double x = a[i];
    if (x != x) {
      s.nan++;
    } else if (x - x != 0) {
      s.inf++;
    } else {
      s.min = x < s.min ? x : s.min;
      s.max = x > s.max ? x : s.max;
      s.mean += x;
      s.finite++;
    }
  }
  s.mean /= s.finite > 0 ? (double)s.finite : 1;
  return s;
}

#define COLUMNS 256

CLONES static void sum_columns(real *out, const real *a, size_t len, size_t inner,
                               size_t columns, double scale) {
  double sum[COLUMNS] = {0};
  for (size_t l = 0; l < len; l++)
    for (size_t i = 0; i < columns; i++) sum[i] += a[l * inner + i];
  for (size_t i = 0; i < columns; i++) out[i] = (real)(sum[i] * scale);
}

void sum_axis(real *out, const real *a, size_t outer, size_t len, size_t inner,
              double scale) {
  for (size_t o = 0; o < outer; o++, a += len * inner, out += inner) {
    if (inner == 1) {
      *out = (real)(reduce_sum(a, len) * scale);
      continue;
    }
    for (size_t i = 0; i < inner; i += COLUMNS)
      sum_columns(out + i, a + i, len, inner, inner - i < COLUMNS ? inner - i : COLUMNS,
                  scale);
  }
}

CLONES static void square_columns(real *out, const real *a, size_t len, size_t inner,
                                  size_t columns, Squares s) {
  double centre[COLUMNS] = {0}, sum[COLUMNS] = {0};
  for (size_t l = 0; s.centred && l < len; l++)
    for (size_t i = 0; i < columns; i++) centre[i] += a[l * inner + i];
  for (size_t i = 0; i < columns; i++) centre[i] /= (double)len;
  for (size_t l = 0; l < len; l++)
    for (size_t i = 0; i < columns; i++) {
      double d = a[l * inner + i] - centre[i];
      sum[i] += d * d;
    }
  for (size_t i = 0; i < columns; i++)
    out[i] = (real)(s.root ? sqrt(sum[i] * s.scale) : sum[i] * s.scale);
}

void squares_axis(real *out, const real *a, size_t outer, size_t len, size_t inner,
                  Squares s) {
  for (size_t o = 0; o < outer; o++, a += len * inner, out += inner) {
    if (inner == 1) {
      double centre = s.centred ? reduce_sum(a, len) / (double)len : 0;
      double sum = reduce_squares(a, centre, len) * s.scale;
      *out = (real)(s.root ? sqrt(sum) : sum);
      continue;
    }
    for (size_t i = 0; i < inner; i += COLUMNS)
      square_columns(out + i, a + i, len, inner,
                     inner - i < COLUMNS ? inner - i : COLUMNS, s);
  }
}

/* sign = 1: the largest; sign = −1: the smallest. */
ALWAYS_INLINE void extreme_axis(real *value, real *index, const real *a, size_t outer,
                                size_t len, size_t inner, real sign) {
  for (size_t o = 0; o < outer; o++, value += inner, index += inner) {
    memcpy(value, a, inner * sizeof *a);
    fill_range(index, 0, inner);
    a += inner;
    for (size_t l = 1; l < len; l++, a += inner)
      for (size_t i = 0; i < inner; i++) {
        real x = a[i], v = value[i];
        int better = (x * sign > v * sign) | ((x != x) & (v == v));
        value[i] = better ? x : v;
        index[i] = better ? (real)l : index[i];
      }
  }
}

CLONES void max_axis(real *value, real *index, const real *a, size_t outer, size_t len,
                     size_t inner) {
  extreme_axis(value, index, a, outer, len, inner, 1);
}

CLONES void min_axis(real *value, real *index, const real *a, size_t outer, size_t len,
                     size_t inner) {
  extreme_axis(value, index, a, outer, len, inner, -1);
}

void permute4(real *out, const real *a, const size_t dim[4], const int order[4]) {
  size_t stride[4], d[4], s[4];
  stride[3] = 1;
  for (int i = 3; i > 0; i--) stride[i - 1] = stride[i] * dim[i];
  for (int i = 0; i < 4; i++) {
    d[i] = dim[order[i]];
    s[i] = stride[order[i]];
  }
  for (size_t i = 0; i < d[0]; i++)
    for (size_t j = 0; j < d[1]; j++)
      for (size_t k = 0; k < d[2]; k++) {
        const real *from = a + i * s[0] + j * s[1] + k * s[2];
        for (size_t l = 0; l < d[3]; l++) *out++ = from[l * s[3]];
      }
}

/* Where samples agree and where they differ. */
#include "image/consensus.h"

#include <string.h>

static void count_votes(const real *masks, size_t count, size_t pixels, real *votes) {
  memset(votes, 0, pixels * sizeof *votes);
  for (size_t m = 0; m < count; m++, masks += pixels)
    for (size_t i = 0; i < pixels; i++) votes[i] += masks[i] != 0;
}

/* Row m of the tally: how many pixels of mask m have k votes or more, for each k; the
 * last row: how many of all pixels have. */
static void fill_tally(const real *masks, size_t count, size_t pixels, const real *votes,
                       size_t *tally) {
  size_t width = count + 2, *all = tally + count * width;
  memset(tally, 0, (count + 1) * width * sizeof *tally);
  for (size_t i = 0; i < pixels; i++) all[(size_t)votes[i]]++;
  for (size_t m = 0; m < count; m++)
    for (size_t i = 0; i < pixels; i++)
      if (masks[m * pixels + i] != 0) tally[m * width + (size_t)votes[i]]++;
  for (size_t row = 0; row <= count; row++)
    for (size_t k = count + 1; k-- > 0;)
      tally[row * width + k] += tally[row * width + k + 1];
}

/* Intersection over union; two empty masks are the same, so 1. */
static double overlap(size_t both, size_t either) {
  return either == 0 ? 1 : (double)both / (double)either;
}

/* Summed over the masks, for the answer of pixels with `least` votes or more. */
static double expected(const size_t *tally, size_t count, size_t pixels, size_t least) {
  size_t width = count + 2, area = tally[count * width + least];
  double sum = 0;
  for (size_t m = 0; m < count; m++) {
    size_t own = tally[m * width], both = tally[m * width + least];
    size_t either = area + own - both;
    sum += overlap(both, either) + overlap(pixels - either, pixels - both);
  }
  return sum;
}

static size_t distance_from_half(size_t least, size_t count) {
  size_t twice = 2 * least, half = count + 1;
  return twice > half ? twice - half : half - twice;
}

size_t consensus(const real *masks, size_t count, size_t pixels, size_t *tally,
                 real *votes) {
  count_votes(masks, count, pixels, votes);
  fill_tally(masks, count, pixels, votes, tally);
  size_t best = 1;
  double most = expected(tally, count, pixels, 1);
  for (size_t least = 2; least <= count + 1; least++) {
    double this = expected(tally, count, pixels, least);
    bool nearer = distance_from_half(least, count) < distance_from_half(best, count);
    if (this > most || (this == most && nearer)) best = least, most = this;
  }
  return best;
}

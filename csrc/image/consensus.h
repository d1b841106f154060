/* One mask of many: several samples of a mask are asked how many of them must have a
 * pixel for the answer to have it. */
#ifndef CGLOW_IMAGE_CONSENSUS_H
#define CGLOW_IMAGE_CONSENSUS_H

#include "base/real.h"

/* masks: `count` of `pixels` numbers each, 0 or not.  votes: how many masks have each
 * pixel.  Returns the least number of votes, 1 to count + 1, for which the pixels with so
 * many votes overlap best with the masks: the mean over the masks of the intersection
 * over union, of the pixels that are in and of those that are not; of equals the one
 * nearest to half of the votes.  tally: (count + 1)·(count + 2) numbers. */
size_t consensus(const real *masks, size_t count, size_t pixels, size_t *tally,
                 real *votes);

#endif

/* A parameter: its value, its gradient in one of three states, and perhaps a step.
 *
 * A fully connected layer's weight gradient is an outer product of as many
 * rows as there are samples.  It is kept as those factors ("pending") and the
 * optimizer forms it row by row while it updates, so it is neither written to
 * memory nor read back; whoever asks for it (p.grad) gets it formed.
 *
 * Nor need its step be made at once (optim/deferred.h). */
#ifndef CGLOW_OPTIM_PARAM_H
#define CGLOW_OPTIM_PARAM_H

#include <stdbool.h>

#include "base/real.h"

/* More samples than this make a dense gradient the cheaper form. */
#define PARAM_MAX_PENDING 32

/* A step that an optimizer has left to be made, row by row. */
typedef struct DueStep {
  void (*make)(const void *context, size_t row, size_t rows);
  const void *context;
  const real *reads[2]; /* beside the value, as many numbers */
} DueStep;

typedef struct Param {
  size_t count, rows, cols; /* rows = first dimension */
  real *value;
  double step_scale; /* optimizers multiply their step size by it */
  real *grad;        /* NULL until somebody needs it dense */
  bool dense;        /* grad holds numbers; otherwise it counts as zero */
  bool exposed;      /* Lua holds grad, so it must always be up to date */
  bool lent;         /* grad has memory only because Lua wanted to look */
  real largest;      /* no number of grad is larger; infinite: nobody has looked.  Who
                        forms grad looks while it is in cache (largest_magnitude) */
  size_t pending, pending_room; /* samples */
  real *u, *v;                  /* [pending, rows], [pending, cols] */
  bool defers;                  /* its layer makes a step that is due */
  size_t due; /* a step is, by a gradient of so many samples, still in u and v; or 0 */
  DueStep step;
} Param;

/* May the gradient of n samples, an outer product if `outer`, be kept pending? */
bool param_may_be_pending(const Param *p, size_t n, bool outer);
/* Is there room for it, in that form or the dense one, and no more than that? */
bool param_ready(const Param *p, size_t n, bool outer);

/* Where to add a dense gradient, and the factor for what is there already
 * (0: overwrite).  grad must have been allocated. */
real *param_accumulate(Param *p, real *beta);

/* gradient += the sum of n rows of `count` numbers each; grad must have been allocated.
 */
void param_add_rows(Param *p, const real *rows, size_t n);

/* gradient += Σ_n u_n v_nᵀ, kept pending; there must be room and nothing may
 * be pending yet. */
void param_set_pending(Param *p, size_t n, const real *u, const real *v);

/* Numbers at .. at+n-1 of the gradient, which must lie within one row: a
 * pointer into grad, or formed in buf (n numbers). */
const real *param_gradient(const Param *p, size_t at, size_t n, real *buf);

/* Numbers at .. at+n-1 of the outer product of the factors of so many samples, formed in
 * buf; within one row. */
const real *param_outer(const Param *p, size_t samples, size_t at, size_t n, real *buf);

/* How many numbers of the gradient are 0, in whatever form it is kept. */
size_t param_gradient_zeros(const Param *p);

/* The whole gradient, in whatever form it is kept. */
void param_copy_gradient(const Param *p, real *out);

/* Make the gradient dense; grad must have been allocated. */
void param_materialise(Param *p);

void param_zero_grad(Param *p);

#endif

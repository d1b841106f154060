/* Where latents leave the flow and are scored.
 *
 * Split: y = (z1, z2) along the channels; (m, s) = even/odd channels of
 * tanh(conv3×3(z1)); z2 is scored by N(m, exp(s)²) and leaves; z1 goes on.
 * Prior: the last z is scored by N(0, 1), or N(mean, exp(logs)²) with learned mean
 * and logs.  (Glow: Kingma & Dhariwal 2018, section 3.)
 * With features of x and a bound β > 0: a = conv3×3(z1) + what a 1×1 convolution of the
 * features adds (prior: a = bias + that); m = a_even, s = β·tanh(a_odd/β). */
#ifndef CGLOW_FLOW_SPLIT_H
#define CGLOW_FLOW_SPLIT_H

#include "base/act.h"
#include "flow/features.h"
#include "optim/param.h"

typedef struct Split {
  size_t channels, stay, leave; /* of y; of z1; of z2 */
  real bound;                   /* β; 0: no features */
  Param *weight, *bias;         /* [2·leave, stay, 3, 3], [2·leave] */
  bool ran;                     /* forward has, so that backward may */
} Split;

/* Channels of a sample's (m, s): for each channel of z2 a plane of m, one of s. */
static inline size_t split_moments_channels(const Split *s) { return 2 * s->leave; }

/* Join z1 and z2 along the channels to y, or cut y into them. */
void split_join(const Act *z1, const Act *z2, const Act *y);
void split_cut(const Act *y, const Act *z1, const Act *z2);

/* Reals of scratch for split_moments, and for split_backward. */
size_t split_scratch(const Act *z1, const Act *ms, int threads);
size_t split_backward_scratch(const Act *z1, const Act *ms, int threads);

/* ms = tanh(conv3×3(z1)); with features as said above, `added` being their part. */
void split_moments(const Split *s, const Act *z1, const Added *added, const Act *ms,
                   real *scratch, int threads);
/* logp[n] = Σ log N(z2; m, exp(s)²) */
void split_log_prob(const Act *z2, const Act *ms, double *logp);
/* y from z1 and z2 = m + exp(s)·temperature·eps */
void split_draw(const Act *z1, const Act *ms, const Act *eps, real temperature,
                const Act *y);
/* From dz1 and the gradient g[n] of logp[n] to dy and, with features, to dadded;
 * parameter gradients grow. */
void split_backward(const Split *s, const Act *z1, const Act *z2, const Act *ms,
                    const Act *dz1, const real *g, const Act *dy, const Act *dadded,
                    real *scratch, int threads);

typedef struct Prior {
  size_t dim[3];      /* of a latent: C, H, W; sides of 0: any */
  bool ran;           /* log_prob has, so that backward may */
  real bound;         /* β; 0: no features */
  Param *mean, *logs; /* of the latent's shape; NULL: N(0, 1), or features */
  Param *bias;        /* [2C], with features */
} Prior;

/* (m, s) of a prior with features, which split_log_prob scores by, as for a split. */
void prior_moments(const Prior *p, const Added *added, const Act *ms);
/* z = m + exp(s)·temperature·eps */
void moments_draw(const Act *ms, const Act *eps, real temperature, const Act *z);
/* dz and dadded; scratch: as many reals as ms. */
void prior_moments_backward(const Prior *p, const Act *z, const Act *ms, const real *g,
                            const Act *dz, const Act *dadded, real *scratch);

void prior_log_prob(const Prior *p, const Act *z, double *logp);
void prior_draw(const Prior *p, const Act *eps, real temperature, const Act *z);
/* dz from the gradient g[n] of logp[n]; parameter gradients grow.  scratch: twice as
 * many reals as z. */
void prior_backward(const Prior *p, const Act *z, const real *g, const Act *dz,
                    real *scratch);

#endif

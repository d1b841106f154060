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
#include "flow/flow.h"

typedef struct Split {
  Flow flow;
  size_t stay, leave;   /* channels of z1, of z2 */
  real bound;           /* β; 0: no features */
  Param *weight, *bias; /* [2·leave, stay, 3, 3], [2·leave] */
} Split;

extern const FlowOps flow_split;

/* y from z1 and z2. */
void split_join(const Act *z1, const Act *z2, const Act *y);
/* A pass back: y from z1, which is r->z, and z2 = m + exp(s)·temperature·eps. */
void split_draw(const Split *s, const FlowRun *r, const Act *eps, real temperature);

typedef struct Prior {
  size_t dim[3];      /* of a latent: C, H, W; sides of 0: any */
  bool ran;           /* log_prob has, so that backward may */
  real bound;         /* β; 0: no features */
  Param *mean, *logs; /* of the latent's shape; NULL: N(0, 1), or features */
  Param *bias;        /* [2C], with features */
} Prior;

/* With features: logp[n] = Σ log N(z; m, exp(s)²), with moments that are made, for each
 * channel of z a plane of m, one of s.  scores: one number for each channel and sample.
 */
void prior_score_moments(const Prior *p, const Added *added, const Act *z, const Act *ms,
                         double *scores, double *logp, int threads);
/* z = m + exp(s)·temperature·eps, and the moments */
void prior_draw_moments(const Prior *p, const Added *added, const Act *ms, const Act *eps,
                        real temperature, const Act *z);
/* dz and dadded; scratch: as many reals as ms. */
void prior_moments_backward(const Prior *p, const Act *z, const Act *ms, const real *g,
                            const Act *dz, const Act *dadded, real *scratch, int threads);

void prior_log_prob(const Prior *p, const Act *z, double *logp);
void prior_draw(const Prior *p, const Act *eps, real temperature, const Act *z);
/* dz from the gradient g[n] of logp[n]; parameter gradients grow.  scratch: twice as
 * many reals as z. */
void prior_backward(const Prior *p, const Act *z, const real *g, const Act *dz,
                    real *scratch);

#endif

/* A flow layer: an invertible map of activations y → z, given a condition, with the
 * log-determinant of its Jacobian for each sample.
 *
 * A layer says in one FlowOps what a caller must know to run it: what the condition looks
 * like, how much memory each pass wants, and the passes themselves.  It owns parameters
 * and sizes, no activations: the binding (lua/flow_methods.c) allocates, so passes cannot
 * fail half-way.  A condition may serve several samples of y in turn: it has `rows`
 * samples, each for `repeat` of y's. */
#ifndef CGLOW_FLOW_FLOW_H
#define CGLOW_FLOW_FLOW_H

#include "base/act.h"
#include "optim/param.h"

typedef struct FlowOps FlowOps;

/* What every layer's struct begins with. */
typedef struct Flow {
  const FlowOps *ops;
  size_t channels; /* of y; 0: any */
} Flow;

/* The shape of a condition, or of what is prepared from one.  dim[sample] counts its
 * samples and is 0 here, as is every size that may be any. */
typedef struct FlowShape {
  int ndim; /* 0: there is none */
  int sample;
  size_t dim[4];
} FlowShape;

typedef enum { PASS_FORWARD, PASS_INVERSE, PASS_PREPARE, PASS_BACKWARD } FlowPass;

/* What a pass works on. */
typedef struct FlowRun {
  Act y, z, dy, dz;
  Act sent; /* what leaves the flow: made by forward, read by backward */
  size_t rows, repeat;
  const real *cond; /* NULL: none, or it was prepared */
  real *prepared;   /* made by prepare; inverse reads it instead of cond */
  real *dcond;
  real *saved;    /* made by forward, read by backward; made and read by others */
  real *hidden;   /* made by forward or recompute, read by backward; NULL: not wanted */
  double *logdet; /* of each sample, made by forward */
  const real *dlogdet; /* of each sample, read by backward */
  real *scratch;
  int threads;
} FlowRun;

struct FlowOps {
  const char *kind; /* the class in Lua is "cglow." and this */
  /* The shape of z for y (back: of y for z), or false and what was expected in
   * why[FLOW_WHY].  NULL: that of the input. */
  bool (*resize)(const Flow *f, const Act *in, bool back, Act *out, char *why);
  /* Channels that leave the flow: forward makes y to z and to what is sent, and scores
   * that in logdet.  NULL: none. */
  size_t (*sent)(const Flow *f);
  /* Conditions for y, of which h and w are known, or 0.  NULL: there is none. */
  FlowShape (*condition)(const Flow *f, const Act *y);
  /* What prepare makes of a condition for inverses to come.  NULL: nothing. */
  FlowShape (*prepared)(const Flow *f, const Act *y);
  /* Reals of saved, hidden and scratch, of a run whose sizes are set.  NULL: none. */
  size_t (*saved)(const Flow *f, const FlowRun *r);
  size_t (*hidden)(const Flow *f, const FlowRun *r);
  size_t (*scratch)(const Flow *f, const FlowRun *r, FlowPass pass);
  void (*forward)(Flow *f, const FlowRun *r);
  /* Both return 0, or the number of the first sample that has no inverse, from 1 on. */
  size_t (*inverse)(Flow *f, const FlowRun *r);
  size_t (*prepare)(Flow *f, const FlowRun *r);
  /* Parameters' gradients grow; dy and dcond are overwritten. */
  void (*backward)(Flow *f, const FlowRun *r);
  /* hidden once more, for a layer whose hidden may be overwritten; NULL: it may not. */
  void (*recompute)(Flow *f, const FlowRun *r);
  const char *no_inverse; /* what to say of a sample, "%d", that has none */
  bool stateless;         /* backward needs no forward */
  bool reads_y;           /* backward reads y; otherwise it may be overwritten */
  void (*describe)(const Flow *f, char *text); /* at most FLOW_WHY */
};

#define FLOW_WHY 120

/* No condition, nothing prepared. */
static inline FlowShape flow_no_shape(void) { return (FlowShape){0}; }

#endif

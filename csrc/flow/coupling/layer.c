/* The coupling as a flow layer: its network, then the transform of half the channels.
 *
 * Saved is the network's output v, hidden are its two hidden layers: by far the largest
 * memory of a model, which layers may share, since they can be computed once more. */
#include "flow/coupling/layer.h"

#include <stdio.h>
#include <string.h>

#include "flow/coupling/coupling.h"
#include "flow/coupling/steps.h"
#include "flow/coupling/transform.h"

static const Coupling *self(const Flow *f) { return (const Coupling *)f; }

static CouplingPlan plan_of(const Coupling *c, const FlowRun *r) {
  return coupling_plan(c, r->y.n, r->y.h, r->y.w);
}

static FlowShape condition(const Flow *f, const Act *y) {
  const Coupling *c = self(f);
  if (c->features) return (FlowShape){4, 1, {c->width, 0, y->h, y->w}};
  if (c->cond > 0) return (FlowShape){4, 0, {0, c->cond, y->h, y->w}};
  return flow_no_shape();
}

/* What conv1 adds to its output for the condition alone. */
static FlowShape prepared(const Flow *f, const Act *y) {
  const Coupling *c = self(f);
  if (c->cond > 0) return (FlowShape){4, 0, {0, c->width, y->h, y->w}};
  return condition(f, y);
}

static size_t saved(const Flow *f, const FlowRun *r) {
  return r->y.n * out_channels(self(f)) * r->y.h * r->y.w;
}

static size_t hidden(const Flow *f, const FlowRun *r) {
  CouplingPlan p = plan_of(self(f), r);
  return coupling_hidden_count(self(f), &p);
}

/* Is hx's part of the first convolution computed by itself?  Where it is rounded, always:
 * what was prepared is to be the same numbers. */
static bool precomputes(const Coupling *c, const FlowRun *r) {
  bool pays = r->repeat > 1 || c->precision == PRECISION_BF16;
  return c->cond > 0 && r->prepared == NULL && pays;
}

/* conv1's part from hx of all samples of a condition. */
static size_t pre_reals(const Coupling *c, const FlowRun *r) {
  return precomputes(c, r) ? round_up(r->rows * c->width * r->y.h * r->y.w) : 0;
}

/* What the network reads of the first channels, where that is not themselves. */
static bool in_steps(const Coupling *c) { return c->precision == PRECISION_BF16; }

static size_t read_reals(const Coupling *c, const FlowRun *r) {
  return in_steps(c) ? round_up(coupling_keep1(c) * r->y.n * r->y.h * r->y.w) : 0;
}

/* Scratch begins with that. */
static real *other_scratch(const Coupling *c, const FlowRun *r) {
  return r->scratch + read_reals(c, r);
}

static size_t network_scratch(const Coupling *c, const CouplingPlan *p,
                              const FlowRun *r) {
  size_t pre = pre_reals(c, r);
  if (pre > 0) pre += coupling_precompute_scratch(c, p, r->threads);
  return round_up(coupling_forward_scratch(c, p, r->threads) + pre);
}

/* Behind it, for doubles. */
static real *run_log_room(const Coupling *c, const CouplingPlan *p, const FlowRun *r) {
  return other_scratch(c, r) + network_scratch(c, p, r);
}

static size_t scratch(const Flow *f, const FlowRun *r, FlowPass pass) {
  const Coupling *c = self(f);
  CouplingPlan p =
      pass == PASS_PREPARE ? coupling_plan(c, 1, r->y.h, r->y.w) : plan_of(c, r);
  if (pass == PASS_PREPARE) return coupling_precompute_scratch(c, &p, r->threads);
  size_t network = network_scratch(c, &p, r), other = 0;
  if (pass == PASS_FORWARD) network += p.n * p.h * (sizeof(double) / sizeof(real));
  if (pass == PASS_BACKWARD) other = coupling_backward_scratch(c, &p, r->threads);
  return read_reals(c, r) + max_size(network, other);
}

/* The condition as activations, or what was prepared from it. */
static Act cond_act(const Coupling *c, const FlowRun *r, const real *numbers,
                    size_t few) {
  if (numbers == NULL) return (Act){0};
  return c->features ? act_cnhw((real *)numbers, r->rows, few, r->y.h, r->y.w)
                     : act_nchw((real *)numbers, r->rows, few, r->y.h, r->y.w);
}

static Act first(const Coupling *c, const Act *a) {
  return act_channels(a, 0, coupling_keep1(c));
}

static Act second(const Coupling *c, const Act *a) {
  return act_channels(a, coupling_keep1(c), coupling_change(c));
}

/* What the network reads of `from`, forward's input or inverse's. */
static Act read_of(const Coupling *c, const FlowRun *r, const Act *from) {
  Act all = first(c, from);
  if (!in_steps(c)) return all;
  Act steps = act_nchw(r->scratch, all.n, all.c, all.h, all.w);
  steps_of(&all, &steps, r->threads);
  return steps;
}

/* v from what the network reads, and what is done with it.  With fewer conditions than
 * samples, hx's part of the first convolution is computed once for each condition, not
 * once for each sample. */
static void run_network(const Coupling *c, const CouplingPlan *p, const FlowRun *r,
                        const Act *read, real *keep, const CouplingUse *use) {
  CouplingInput in = {*read, {0}, {0}, r->repeat};
  real *own = other_scratch(c, r);
  real *rest = own + coupling_forward_scratch(c, p, r->threads);
  if (r->prepared != NULL || c->features)
    in.pre = cond_act(c, r, r->prepared ? r->prepared : r->cond, c->width);
  else
    in.hx = cond_act(c, r, r->cond, c->cond);
  if (precomputes(c, r)) {
    in.pre = act_nchw(rest, r->rows, c->width, p->h, p->w);
    coupling_precompute(c, &in.hx, rest, rest + pre_reals(c, r), r->threads);
    in.hx.data = NULL;
  }
  coupling_network(c, p, &in, keep, r->saved, use, own, r->threads);
}

static void forward(Flow *f, const FlowRun *r) {
  const Coupling *c = self(f);
  CouplingPlan p = plan_of(c, r);
  Act read = read_of(c, r, &r->y);
  double *run_logs = (double *)(void *)run_log_room(c, &p, r);
  CouplingUse use = {first(c, &r->y), first(c, &r->z), second(c, &r->y), second(c, &r->z),
                     run_logs};
  if (in_steps(c)) {
    steps_forward(&use.from1, &read, &use.to1, r->threads);
    use.from1.data = NULL;
  }
  run_network(c, &p, r, &read, r->hidden, &use);
  coupling_logdet(&p, run_logs, r->logdet);
}

static size_t inverse(Flow *f, const FlowRun *r) {
  const Coupling *c = self(f);
  CouplingPlan p = plan_of(c, r);
  Act read = read_of(c, r, &r->z);
  CouplingUse use = {first(c, &r->z), first(c, &r->y), second(c, &r->z), second(c, &r->y),
                     NULL};
  if (in_steps(c)) {
    steps_inverse(&use.from1, &read, &use.to1, r->threads);
    use.from1.data = NULL;
  }
  run_network(c, &p, r, &read, NULL, &use);
  return 0;
}

static size_t prepare(Flow *f, const FlowRun *r) {
  const Coupling *c = self(f);
  if (c->features) {
    memcpy(r->prepared, r->cond, c->width * r->rows * r->y.h * r->y.w * sizeof(real));
    return 0;
  }
  Act hx = cond_act(c, r, r->cond, c->cond);
  coupling_precompute(c, &hx, r->prepared, r->scratch, r->threads);
  return 0;
}

static void recompute(Flow *f, const FlowRun *r) {
  const Coupling *c = self(f);
  CouplingPlan p = plan_of(c, r);
  Act read = read_of(c, r, &r->y);
  run_network(c, &p, r, &read, r->hidden, NULL);
}

static void backward(Flow *f, const FlowRun *r) {
  const Coupling *c = self(f);
  CouplingPlan p = plan_of(c, r);
  Act read = read_of(c, r, &r->y), hx = {0}, dhx = {0}, dpre = {0};
  if (c->features) {
    dpre = cond_act(c, r, r->dcond, c->width);
  } else {
    hx = cond_act(c, r, r->cond, c->cond);
    dhx = cond_act(c, r, r->dcond, c->cond);
  }
  coupling_backward(c, &p, &r->y, &read, &hx, r->hidden, r->saved, &r->dz, r->dlogdet,
                    &r->dy, &dhx, &dpre, other_scratch(c, r), r->threads);
}

static void describe(const Flow *f, char *text) {
  const Coupling *c = self(f);
  char of[60] = "unconditional";
  if (c->features) snprintf(of, sizeof of, "with features");
  if (c->cond > 0) snprintf(of, sizeof of, "conditional on %zu channels", c->cond);
  snprintf(text, FLOW_WHY, " of %zu channels, width %zu, %s", f->channels, c->width, of);
}

const FlowOps flow_coupling = {.kind = "Coupling",
                               .condition = condition,
                               .prepared = prepared,
                               .saved = saved,
                               .hidden = hidden,
                               .scratch = scratch,
                               .forward = forward,
                               .inverse = inverse,
                               .prepare = prepare,
                               .backward = backward,
                               .recompute = recompute,
                               .reads_y = true,
                               .describe = describe};

/* A group: networks that read the same x, run side by side.
 *
 * A conditional Glow has three conditioning networks a step, none of which
 * depends on y.  Each alone is too small for two threads; together they fill
 * sixteen: one thread runs one network.  Networks whose first layer is the
 * same kind of convolution share one im2col of x. */
#include <lauxlib.h>
#include <string.h>

#include "base/threads.h"
#include "lua/check.h"
#include "lua/class.h"
#include "lua/guard.h"
#include "lua/net.h"
#include "lua/noreturn.h"
#include "lua/open.h"

/*** @submodule cglow.Net */

#define GROUP_TYPE "cglow.NetGroup"

enum { UV_NETS = 1, UV_COLS, UV_OUTPUTS, UV_COUNT = 3 };

typedef struct Entry {
  Net *net;
  size_t runs;      /* net's, at this group's last forward */
  size_t twin;      /* the first entry whose first convolution sees x the same way */
  const real *cols; /* shared im2col of x, or NULL */
  real *arena, *out, *dout;
  size_t turn; /* the entry that is run as the i-th: the longest come first */
} Entry;

typedef struct NetGroup {
  size_t count;
  bool ran;
  size_t scratch; /* reals for each thread */
  Entry entry[];
} NetGroup;

static NetGroup *group_check(lua_State *L, int arg) {
  return luaL_checkudata(L, arg, GROUP_TYPE);
}

/* Enter `thing` as network i's in the table below the top of the stack; two
 * threads must share neither a network's buffers nor a layer's gradient. */
static void claim(lua_State *L, const void *thing, lua_Integer i) {
  lua_rawgetp(L, -2, thing);
  lua_Integer other = lua_tointeger(L, -1);
  if (other != 0 && other != i)
    luaL_error(L, "group: networks %I and %I are the same or share parameters",
               (LUAI_UACINT)other, (LUAI_UACINT)i);
  lua_pop(L, 1);
  lua_pushinteger(L, i);
  lua_rawsetp(L, -3, thing);
}

static void claim_network(lua_State *L, const Net *net, lua_Integer i) {
  claim(L, net, i);
  for (size_t k = 0; k < net->count; k++) {
    const Layer *l = net->node[k].layer;
    if (l->weight != NULL || l->bias != NULL) claim(L, l, i);
  }
}

/* group({net, …}) */
static int new_group(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  size_t n = lua_rawlen(L, 1);
  luaL_argcheck(L, n > 0 && n <= LIST_MAX, 1, "list of 1 to 2^20 networks expected");
  NetGroup *g = lua_newuserdatauv(L, sizeof *g + n * sizeof *g->entry, UV_COUNT);
  memset(g, 0, sizeof *g + n * sizeof *g->entry);
  g->count = n;
  luaL_setmetatable(L, GROUP_TYPE);
  lua_createtable(L, (int)n, 0);
  lua_newtable(L); /* which network each layer was seen in */
  for (size_t i = 0; i < n; i++) {
    Net *net = g->entry[i].net = check_listed(L, (lua_Integer)i + 1, NET_TYPE);
    claim_network(L, net, (lua_Integer)i + 1);
    lua_rawseti(L, -3, (lua_Integer)i + 1);
  }
  lua_pop(L, 1);
  lua_setiuservalue(L, 2, UV_NETS);
  lua_createtable(L, (int)n, 0);
  lua_setiuservalue(L, 2, UV_OUTPUTS);
  return 1;
}

static size_t find_twin(const NetGroup *g, size_t i) {
  for (size_t k = 0; k < i; k++)
    if (net_same_columns(g->entry[k].net, g->entry[i].net)) return k;
  return i;
}

/* Lay out the shared columns; returns reals (too many to be had when their
 * number overflows). */
static size_t place_cols(NetGroup *g, real *base) {
  size_t total = 0;
  for (size_t i = 0; i < g->count; i++) {
    Entry *e = &g->entry[i];
    size_t count = net_columns_count(e->net);
    e->cols = NULL;
    if (count == 0) continue;
    if (e->twin < i) {
      e->cols = g->entry[e->twin].cols;
    } else {
      e->cols = base ? base + total : NULL;
      if (!checked_add(total, round_up(count), &total)) return SIZE_MAX;
    }
  }
  return total;
}

static void fill_cols(const NetGroup *g, const Tensor *x, int threads) {
  for (size_t i = 0; i < g->count; i++) {
    const Entry *e = &g->entry[i];
    if (e->cols != NULL && e->twin == i)
      net_columns(e->net, x->data, (real *)e->cols, threads);
  }
}

/* What a number of a weight costs beside its multiplications, in as many of them: it is
 * fetched from memory, and its step may be due. */
#define NUMBER_EFFORT ((size_t)32)

/* About how long a network takes, to put networks in order. */
static size_t effort(const Net *net) {
  size_t sum = 0;
  for (size_t k = 0; k < net->count; k++) {
    const NetNode *node = &net->node[k];
    if (node->layer->weight != NULL)
      sum += node->layer->weight->count * (act_pixels(&node->out) + NUMBER_EFFORT);
  }
  return sum;
}

/* The order in which threads take entries first to last − 1: so that the last ones that
 * are taken are short. */
static void order_turns(NetGroup *g, size_t first, size_t last) {
  for (size_t i = first; i < last; i++) {
    size_t at = i;
    for (; at > first &&
           effort(g->entry[g->entry[at - 1].turn].net) < effort(g->entry[i].net);
         at--)
      g->entry[at].turn = g->entry[at - 1].turn;
    g->entry[at].turn = i;
  }
}

static void prepare(lua_State *L, NetGroup *g) {
  lua_getiuservalue(L, 1, UV_NETS);
  lua_getiuservalue(L, 1, UV_OUTPUTS);
  int nets = lua_gettop(L) - 1, outputs = lua_gettop(L);
  size_t scratch = 0;
  for (size_t i = 0; i < g->count; i++) {
    Entry *e = &g->entry[i];
    lua_rawgeti(L, nets, (lua_Integer)i + 1);
    e->out = net_prepare_forward(L, -1, 2)->data;
    e->runs = e->net->runs;
    e->arena = net_arena(L, -2);
    e->twin = find_twin(g, i);
    lua_rawseti(L, outputs, (lua_Integer)i + 1);
    lua_pop(L, 1);
    size_t s = net_backward_scratch(e->net, 1);
    if (s > scratch) scratch = s;
  }
  order_turns(g, 0, g->count);
  g->scratch = round_up(scratch);
  size_t count = place_cols(g, NULL);
  if (count > 0) {
    lua_getiuservalue(L, 1, UV_COLS);
    Tensor *cols = tensor_test(L, -1);
    lua_pop(L, 1);
    if (cols == NULL || cols->count < count) {
      cols = tensor_new(L, 1, &count);
      lua_setiuservalue(L, 1, UV_COLS);
    }
    place_cols(g, cols->data);
  }
}

/* Nothing of an earlier forward counts any more, not even of one that a finalizer has
 * just made. */
static void begin_forward(NetGroup *g) {
  g->ran = false;
  for (size_t i = 0; i < g->count; i++) g->entry[i].net->ran = false;
}

/*** Run every network on x.
@function NetGroup:forward
@tparam Tensor x N×C×H×W
@treturn {Tensor,...} the outputs in order; table and tensors belong to the
group and are overwritten by the next call */
static int forward(lua_State *L) {
  NetGroup *g = group_check(L, 1);
  Tensor *x = tensor_check(L, 2);
  lua_settop(L, 2);
  lua_Integer runs = guard_runs(L);
  prepare(L, g);
  int threads = parallel_threads();
  real *scratch = tensor_workspace(L, g->scratch * (size_t)threads);
  begin_forward(g);
  /* Plans of its own networks were so many. */
  guard_enter(L, runs + (lua_Integer)g->count, "forward");
  fill_cols(g, x, threads);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (size_t i = 0; i < g->count; i++) {
    Entry *e = &g->entry[g->entry[i].turn];
    net_forward(e->net, x->data, e->out, e->arena, e->cols,
                scratch + (size_t)omp_get_thread_num() * g->scratch, 1);
  }
  g->ran = true;
  lua_getiuservalue(L, 1, UV_OUTPUTS);
  return 1;
}

/* Networks first to last − 1. */
typedef struct Share {
  size_t first, last;
} Share;

/* The networks from the one at index 3 to the one at index 4, which may be left out. */
static Share check_share(lua_State *L, const NetGroup *g) {
  lua_Integer count = (lua_Integer)g->count;
  lua_Integer first = luaL_optinteger(L, 3, 1), last = luaL_optinteger(L, 4, count);
  if (first < 1 || first > count)
    luaL_argerror(L, 3,
                  lua_pushfstring(L, "a network from 1 to %I expected, got %I",
                                  (LUAI_UACINT)count, (LUAI_UACINT)first));
  if (last < first || last > count)
    luaL_argerror(
        L, 4,
        lua_pushfstring(L, "a network from %I to %I expected, got %I", (LUAI_UACINT)first,
                        (LUAI_UACINT)count, (LUAI_UACINT)last));
  return (Share){(size_t)first - 1, (size_t)last};
}

/* Check the list at index 2 against the networks in the list at index `nets`.
 * Allocates nothing when all is well. */
static void read_gradients(lua_State *L, NetGroup *g, Share share, int nets) {
  for (size_t i = share.first; i < share.last; i++) {
    Entry *e = &g->entry[i];
    lua_rawgeti(L, nets, (lua_Integer)i + 1);
    if (e->net->runs != e->runs || !e->net->ran)
      luaL_error(L, "backward: network %d has run on its own since", (int)i + 1);
    const Tensor *out = net_output(L, -1);
    lua_rawgeti(L, 2, (lua_Integer)i + 1);
    const Tensor *dout = tensor_test(L, -1);
    if (dout == NULL || !tensor_same_shape(dout, out)) {
      const char *got =
          dout ? tensor_push_shape(L, dout->ndim, dout->dim) : luaL_typename(L, -1);
      luaL_error(L, "backward: gradient %d must be a tensor of shape %s, got %s",
                 (int)i + 1, tensor_push_shape(L, out->ndim, out->dim), got);
    }
    e->dout = dout->data;
    lua_pop(L, 3);
  }
}

static size_t take(size_t *taken) {
  size_t i;
#pragma omp critical(taking)
  i = (*taken)++;
  return i;
}

/* Run the networks that one thread takes, the next one always before it is needed: its
 * weights are fetched while the last convolutions of this one keep the thread busy. */
static void backward_networks(const NetGroup *g, size_t *taken, size_t last,
                              real *scratch) {
  for (size_t i = take(taken), next; i < last; i = next) {
    const Entry *e = &g->entry[g->entry[i].turn];
    Ranges soon = {0};
    next = take(taken);
    if (next < last) soon = net_backward_reads(g->entry[g->entry[next].turn].net);
    net_backward(e->net, e->dout, NULL, e->arena, e->cols, &soon, scratch, 1);
  }
}

/*** Back-propagate through every network, or some; their parameters' gradients grow.
The gradient with respect to x is not formed.
@function NetGroup:backward
@tparam {Tensor,...} douts gradients with respect to the outputs, in order
@tparam[opt=1] integer first network to back-propagate through
@tparam[opt] integer last one, nil: the last of all */
static int backward(lua_State *L) {
  NetGroup *g = group_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  Share share = check_share(L, g);
  lua_settop(L, 2);
  lua_Integer runs = guard_runs(L);
  if (!g->ran) return luaL_error(L, "backward: call forward first");
  lua_getiuservalue(L, 1, UV_NETS);
  int nets = lua_gettop(L);
  read_gradients(L, g, share, nets);
  for (size_t i = share.first; i < share.last; i++) {
    lua_rawgeti(L, nets, (lua_Integer)i + 1);
    net_prepare_backward(L, -1);
    lua_pop(L, 1);
  }
  int threads = parallel_threads();
  real *scratch = tensor_workspace(L, g->scratch * (size_t)threads);
  guard_enter(L, runs, "backward");
  read_gradients(L, g, share, nets); /* once more: nothing can change the list any more */
  order_turns(g, share.first, share.last);
  size_t taken = share.first;
#pragma omp parallel num_threads(threads)
  backward_networks(g, &taken, share.last,
                    scratch + (size_t)omp_get_thread_num() * g->scratch);
  return 0;
}

static const luaL_Reg methods[] = {
    {"forward", forward}, {"backward", backward}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"group", new_group}, {NULL, NULL}};

void open_net_group(lua_State *L) {
  class_new(L, GROUP_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}

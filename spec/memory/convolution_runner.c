/* Convolutions of many shapes on scratch that ends at a page nobody may touch: what
 * conv_scratch asks for is what forward and backward need, on any number of threads. */
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "math/conv.h"
#include "runner.h"

enum { SHAPES = 400, MOST_NUMBERS = 600000, PAGE = 4096, LINE = 64 };

static char shape_at_work[160];

static void on_fault(int number) {
  (void)number;
  static const char begin[] = "not ok 1 - stays within its scratch: ";
  (void)!write(STDOUT_FILENO, begin, sizeof begin - 1);
  (void)!write(STDOUT_FILENO, shape_at_work, strlen(shape_at_work));
  (void)!write(STDOUT_FILENO, "\n", 1);
  _exit(EXIT_FAILURE);
}

static uint64_t state = 1;

/* One of 0 .. n-1. */
static size_t any(size_t n) {
  state = state * 6364136223846793005U + 1442695040888963407U;
  return (size_t)(state >> 33) % n;
}

static real *numbers(size_t n) {
  real *p = aligned_alloc(LINE, (n * sizeof *p + LINE - 1) / LINE * LINE);
  if (p == NULL) abort();
  for (size_t i = 0; i < n; i++) p[i] = (real)any(1000) / 1000 - (real)0.5;
  return p;
}

typedef struct Guarded {
  char *pages;
  size_t bytes;
  real *scratch;
} Guarded;

/* n numbers, the last of which lie before the page, in whole cache lines. */
static Guarded guard(size_t n) {
  size_t bytes = n * sizeof(real), room = (bytes + PAGE - 1) / PAGE * PAGE;
  char *p =
      mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || mprotect(p + room, PAGE, PROT_NONE) != 0) abort();
  return (Guarded){p, room + PAGE, (real *)(void *)(p + (room - bytes) / LINE * LINE)};
}

typedef struct Shape {
  ConvGeometry geometry;
  size_t from, to, n, h, w, out_h, out_w;
  int threads;
  bool by_channel;
} Shape;

static ConvGeometry any_geometry(void) {
  ConvGeometry g = {1 + any(5),
                    1 + any(5),
                    1 + any(3),
                    0,
                    0,
                    0,
                    any(4) ? PRECISION_FP32 : PRECISION_BF16};
  if (any(3)) g.kw = g.kh;
  g.ph = any(2) ? g.kh / 2 : any(3);
  g.pw = g.kw == g.kh ? g.ph : g.kw / 2;
  if (any(2)) { /* of the output's size as the input's */
    g.kh |= 1, g.kw |= 1, g.sh = 1;
    g.ph = g.kh / 2, g.pw = g.kw / 2;
  }
  g.sw = g.sh;
  return g;
}

static bool any_shape(Shape *s) {
  static const size_t channels[] = {1, 1, 2, 3, 4, 8, 12, 16, 24, 32, 33, 64, 100};
  static const int threads[] = {1, 2, 3, 5, 16};
  size_t count = sizeof channels / sizeof *channels;
  *s = (Shape){.geometry = any_geometry(), .from = channels[any(count)]};
  s->to = channels[any(count)];
  s->n = 1 + any(any(2) ? 3 : 40);
  s->h = 1 + any(50), s->w = 1 + any(50);
  s->threads = threads[any(5)];
  s->by_channel = any(2);
  s->out_h = conv_out_size(s->h, s->geometry.kh, s->geometry.sh, s->geometry.ph);
  s->out_w = conv_out_size(s->w, s->geometry.kw, s->geometry.sw, s->geometry.pw);
  return s->out_h > 0 && s->out_w > 0 &&
         s->n * s->h * s->w * (s->from + s->to) <= MOST_NUMBERS;
}

static void name(const Shape *s) {
  const ConvGeometry *g = &s->geometry;
  snprintf(shape_at_work, sizeof shape_at_work,
           "%zu to %zu channels, %zu of %zux%zu, kernel %zux%zu, stride %zu, padding "
           "%zu,%zu, %d threads%s%s",
           s->from, s->to, s->n, s->h, s->w, g->kh, g->kw, g->sh, g->ph, g->pw,
           s->threads, s->by_channel ? ", by channel" : "",
           g->precision == PRECISION_BF16 ? ", bf16" : "");
}

static void convolve(const Shape *s) {
  const ConvGeometry *g = &s->geometry;
  size_t in_count = s->from * s->n * s->h * s->w,
         filters = s->to * s->from * g->kh * g->kw;
  Act (*act)(real *, size_t, size_t, size_t, size_t) =
      s->by_channel ? act_cnhw : act_nchw;
  Act in = act(numbers(in_count), s->n, s->from, s->h, s->w);
  Act out =
      act(numbers(s->to * s->n * s->out_h * s->out_w), s->n, s->to, s->out_h, s->out_w);
  Act din = in;
  din.data = numbers(in_count);
  real *weight = numbers(filters), *dweight = numbers(filters), *bias = numbers(s->to),
       *dbias = numbers(s->to);
  Guarded room = guard(conv_scratch(g, &in, &out, s->threads));
  conv_forward(&in, weight, bias, g, &out, NULL, room.scratch, s->threads);
  conv_backward(&in, weight, g, &out, &din, dweight, 1, dbias, 1, NULL, room.scratch,
                s->threads);
  munmap(room.pages, room.bytes);
  real *all[] = {in.data, out.data, din.data, weight, dweight, bias, dbias};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

int main(void) {
  (void)signal(SIGSEGV, on_fault);
  (void)signal(SIGBUS, on_fault);
  for (int done = 0; done < SHAPES;) {
    Shape s;
    if (!any_shape(&s)) continue;
    name(&s);
    convolve(&s);
    done++;
  }
  tap(true, "stays within its scratch, %d shapes", SHAPES);
  return tap_end();
}

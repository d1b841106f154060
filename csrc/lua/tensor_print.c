/* Tensors at the prompt: shape, range and a corner of the numbers. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lua/tensor.h"
#include "lua/tensor_methods.h"
#include "math/elementwise.h"

#define FULL 100 /* tensors of at most so many numbers are shown whole */
#define CORNER 8 /* rows and columns shown of larger ones */
#define WRAP 10  /* numbers per line of a 1-D tensor */
#define CELL 32  /* room for one formatted number */

/* Put a point where the locale puts something else, as a comma. */
static void point(char *text) {
  const char *mark = localeconv()->decimal_point;
  char *at = strstr(text, mark);
  if (at == NULL || *mark == '\0') return;
  memmove(at + 1, at + strlen(mark), strlen(at + strlen(mark)) + 1);
  *at = '.';
}

static int format(char text[CELL], double v) {
  if (v != v) v = NAN; /* printf shows NaN's sign */
  snprintf(text, CELL, "%.4g", v);
  point(text);
  return (int)strlen(text);
}

static void add_format(luaL_Buffer *b, const char *label, double v) {
  char text[CELL];
  format(text, v);
  luaL_addstring(b, label);
  luaL_addstring(b, text);
}

static void add_count(luaL_Buffer *b, size_t n, const char *label) {
  char text[CELL];
  if (n == 0) return;
  snprintf(text, sizeof text, "  %zu %s", n, label);
  luaL_addstring(b, text);
}

/* The part of a tensor that is shown: matrices of rows of columns. */
typedef struct Part {
  const real *data;
  size_t matrices, rows, columns; /* shown */
  size_t all_rows, all_columns;   /* there */
  int width;
} Part;

static size_t at_most(size_t n, size_t limit) { return n < limit ? n : limit; }

static double cell(const Part *p, size_t m, size_t r, size_t c) {
  return p->data[(m * p->all_rows + r) * p->all_columns + c];
}

static Part part_of(const Tensor *t) {
  bool whole = t->count <= FULL;
  Part p = {.data = t->data, .width = 1};
  p.all_columns = t->dim[t->ndim - 1];
  p.all_rows = t->ndim > 1 ? t->dim[t->ndim - 2] : 1;
  p.matrices = whole ? t->count / (p.all_rows * p.all_columns) : 1;
  p.rows = whole ? p.all_rows : at_most(p.all_rows, CORNER);
  p.columns = whole ? p.all_columns : at_most(p.all_columns, CORNER);
  char text[CELL];
  for (size_t m = 0; m < p.matrices; m++)
    for (size_t r = 0; r < p.rows; r++)
      for (size_t c = 0; c < p.columns; c++) {
        int w = format(text, cell(&p, m, r, c));
        p.width = w > p.width ? w : p.width;
      }
  return p;
}

static void add_row(luaL_Buffer *b, const Part *p, size_t m, size_t r, bool wrap) {
  for (size_t c = 0; c < p->columns; c++) {
    char text[CELL], padded[2 * CELL];
    format(text, cell(p, m, r, c));
    snprintf(padded, sizeof padded, "%s%*s", wrap && c % WRAP == 0 ? "\n  " : "  ",
             p->width, text);
    luaL_addstring(b, padded);
  }
  if (p->columns < p->all_columns) luaL_addstring(b, "  ...");
}

/* "[2,1]": which matrix of a tensor of 3 or 4 dimensions. */
static void add_label(luaL_Buffer *b, const Tensor *t, size_t m) {
  char text[3 * CELL];
  if (t->ndim == 3)
    snprintf(text, sizeof text, "\n[%zu]", m + 1);
  else
    snprintf(text, sizeof text, "\n[%zu,%zu]", m / t->dim[1] + 1, m % t->dim[1] + 1);
  luaL_addstring(b, text);
}

static void add_numbers(luaL_Buffer *b, const Tensor *t) {
  Part p = part_of(t);
  bool wrap = t->ndim == 1;
  for (size_t m = 0; m < p.matrices; m++) {
    if (t->ndim > 2) add_label(b, t, m);
    for (size_t r = 0; r < p.rows; r++) {
      if (!wrap) luaL_addchar(b, '\n');
      add_row(b, &p, m, r, wrap);
    }
    if (p.rows < p.all_rows) luaL_addstring(b, "\n  ...");
  }
  if (p.matrices * p.all_rows * p.all_columns < t->count) luaL_addstring(b, "\n...");
}

int tensor_tostring(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  Summary s = summarise(t->data, t->count);
  luaL_Buffer b;
  tensor_push_shape(L, t->ndim, t->dim);
  lua_insert(L, 1); /* the buffer wants the top of the stack */
  luaL_buffinit(L, &b);
  luaL_addstring(&b, TENSOR_TYPE " ");
  luaL_addstring(&b, lua_tostring(L, 1));
  if (s.finite > 0) {
    add_format(&b, "  min ", s.min);
    add_format(&b, "  mean ", s.mean);
    add_format(&b, "  max ", s.max);
  }
  add_count(&b, s.nan, "NaN");
  add_count(&b, s.inf, "inf");
  add_numbers(&b, t);
  luaL_pushresult(&b);
  return 1;
}

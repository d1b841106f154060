/* What features add to the first convolution's output, and its gradient. */
#include "flow/coupling/pre.h"

#include <string.h>

#include "math/panel_ops.h"

/* Rows of n cells' pixels, `plane` apart, as panels, one for each pixel of a cell. */
static void panels_of_rows(const Coupling *c, const CouplingPlan *p, const real *src,
                           size_t plane, size_t rows, size_t n, real *h1) {
  size_t pixel = panel_offset(1, c->width);
  if (p->side == 1)
    for (size_t k = 0; k < rows; k++)
      memcpy(h1 + k * PANEL, src + k * plane, n * sizeof *h1);
  else
    for (size_t y = 0; y < 2; y++, src += p->w, h1 += 2 * pixel)
      deinterleave_rows(src, plane, rows, n, h1, h1 + pixel);
}

/* Clear what lies behind a panel's last cell, which backward multiplies by 0. */
static void clear_end(const Coupling *c, const CouplingPlan *p, Channels which, size_t n,
                      real *h1) {
  for (size_t i = 0; n < PANEL && i < cell_pixels(p); i++)
    for (size_t k = which.first; k < which.first + which.count; k++)
      memset(h1 + panel_offset(i, c->width) + k * PANEL + n, 0, (PANEL - n) * sizeof *h1);
}

void coupling_panels_of_pre(const Coupling *c, const CouplingPlan *p, const Act *pre,
                            size_t repeat, Channels which, size_t cell, size_t n,
                            real *h1) {
  clear_end(c, p, which, n, h1);
  for (size_t run; n > 0; n -= run, cell += run, h1 += run) {
    size_t row = cell / p->wide, x = cell % p->wide;
    const real *src = act_plane(pre, row / p->high / repeat, which.first) +
                      row % p->high * p->side * p->w + x * p->side;
    run = p->wide - x < n ? p->wide - x : n;
    panels_of_rows(c, p, src, pre->cs, which.count, run, h1 + which.first * PANEL);
  }
}

/* Rows of n cells' pixels, `plane` apart, from panels, one for each pixel of a cell. */
static void rows_of_panels(const Coupling *c, const CouplingPlan *p, const real *d1,
                           size_t plane, size_t rows, size_t n, real *dst) {
  size_t pixel = panel_offset(1, c->width);
  if (p->side == 1)
    for (size_t k = 0; k < rows; k++)
      memcpy(dst + k * plane, d1 + k * PANEL, n * sizeof *d1);
  else
    for (size_t y = 0; y < 2; y++, dst += p->w, d1 += 2 * pixel)
      interleave_rows(d1, d1 + pixel, plane, rows, n, dst);
}

void coupling_pre_backward(const Coupling *c, const CouplingPlan *p, const Act *dpre,
                           Channels which, size_t cell, size_t n, const real *d1) {
  for (size_t run; dpre->data != NULL && n > 0; n -= run, cell += run, d1 += run) {
    size_t row = cell / p->wide, x = cell % p->wide;
    real *dst = act_plane(dpre, row / p->high, which.first) +
                row % p->high * p->side * p->w + x * p->side;
    run = p->wide - x < n ? p->wide - x : n;
    rows_of_panels(c, p, d1 + which.first * PANEL, dpre->cs, which.count, run, dst);
  }
}

/* Where a coupling's backward pass works. */
#include "flow/coupling/backward_scratch.h"

#include "flow/coupling/coupling.h"

/* Tiles of a wave, and of it for each thread, at least: threads wait for each other
 * twice in each. */
#define WAVE_TILES ((size_t)32)
#define THREAD_TILES ((size_t)2)

/* Conv2's gradient is made in pieces of 32 columns by half of the rows, or a quarter
 * where threads are more than such pieces. */
#define FEW_PARTS ((size_t)2)
#define MANY_PARTS ((size_t)4)

BackwardScratch coupling_backward_room(const Coupling *c, const CouplingPlan *p,
                                       real *base, int threads) {
  BackwardScratch s = {.conv1 = coupling_conv1(c, NULL, NULL),
                       .conv3 = coupling_conv3(c, NULL, NULL)};
  size_t at = 0, in = in_channels(c), out = out_channels(c), w = c->width;
  size_t in_rows = column_rows(p, in), out_rows = column_rows(p, out);
  s.wave = max_size(WAVE_TILES, THREAD_TILES * (size_t)threads);
  if (s.wave > p->tiles) s.wave = p->tiles;
  s.row_parts = FEW_PARTS * coupling_blocks(c) < (size_t)threads ? MANY_PARTS : FEW_PARTS;
  size_t panels = s.wave * p->panels;
  real *filters1, *filters3, *dfilters1, *dfilters3, *largest1, *largest3;
  s.panel = in_rows * PANEL;
  bool pairs = coupling_in_pairs(c, p, threads);
  s.cols = round_up(max_size(in_rows, out_rows) * full_tile(p));
  s.thread_stride = s.panel + s.cols + (pairs ? hidden_offset(c, p, 1) : 0);
#define TAKE(to, count) to = base + at, at += round_up(count)
  TAKE(filters1, coupling_filter_count(p, in, w));
  TAKE(filters3, coupling_filter_count(p, out, w));
  TAKE(dfilters1, coupling_sum_room(&s.conv1, p));
  TAKE(dfilters3, coupling_sum_room(&s.conv3, p));
  TAKE(s.scale1, w);
  TAKE(s.scale2, w);
  TAKE(s.turned2, pairs || p->tiles == 1 ? 0 : panel_offset(coupling_blocks(c), w));
  if (pairs) TAKE(s.pairs2, parts_of(w, 2) * round_up(w));
  TAKE(s.dv, out * p->pixels);
  TAKE(s.planes, in_rows * all_cells(p));
  TAKE(s.sums, 4 * w * p->tiles);
  TAKE(s.dv_cols, panel_offset(panels, out_rows));
  TAKE(s.h_cols, panel_offset(panels, in_rows));
  TAKE(s.da1, hidden_offset(c, p, panels));
  TAKE(s.da2, hidden_offset(c, p, panels) / (pairs ? 2 : 1));
  TAKE(largest1, coupling_known_parts(&s.conv1, p));
  TAKE(s.largest2, conv2_pieces(c, &s));
  TAKE(largest3, coupling_known_parts(&s.conv3, p));
  TAKE(s.threads, s.thread_stride * (size_t)threads);
#undef TAKE
  s.conv1 = coupling_conv1(c, filters1, dfilters1);
  s.conv3 = coupling_conv3(c, filters3, dfilters3);
  s.conv3.widens = true;
  s.conv1.largest = largest1;
  s.conv3.largest = largest3;
  s.total = at;
  return s;
}

size_t coupling_backward_scratch(const Coupling *c, const CouplingPlan *p, int threads) {
  return coupling_backward_room(c, p, NULL, threads).total;
}

/* The two 3×3 convolutions of the coupling, between few planes and a hidden layer.
 *
 * Where cells are pixels, the few planes give columns (im2col), 9 rows for each; a
 * product makes the hidden layer of them, and another makes nine planes of a hidden
 * layer, which are shifted and added.  Where cells are squares, Winograd's form has
 * 16 rows for the four pixels of a square and less than half of the products
 * (math/winograd.h).  Either way:
 *
 *   conv1   forward widens h's columns, backward narrows
 *   conv3   forward narrows, backward widens dv's columns
 *
 * and a weight gradient is the product of columns and a hidden layer. */
#ifndef CGLOW_FLOW_COUPLING_CONV3X3_H
#define CGLOW_FLOW_COUPLING_CONV3X3_H

#include "flow/coupling/plan.h"

typedef struct CouplingConv {
  Precision precision;
  size_t few;         /* channels of the few planes */
  size_t wide;        /* of the hidden layer */
  bool last;          /* conv3; its filters are read backwards when it widens */
  bool widens;        /* in this pass: to the hidden layer */
  size_t first;       /* of the few channels that are read */
  const real *weight; /* conv1: [wide, few, 9], conv3: [few, wide, 9] */
  size_t wide_step;   /* from one of the wide channels to the next in the weight */
  size_t few_step;
  real *filters; /* the weight as the products want it */
  /* For the backward pass: */
  real *dfilters; /* gradient of the filters */
  real *dweight;  /* of the weight, times beta beforehand */
  real beta;
  real *largest; /* magnitude in each part of dweight: coupling_known_parts numbers */
} CouplingConv;

/* filters, dfilters: room for coupling_filter_count numbers. */
CouplingConv coupling_conv1(const Coupling *c, real *filters, real *dfilters);
CouplingConv coupling_conv3(const Coupling *c, real *filters, real *dfilters);

/* Rows of columns, and planes, for `few` channels. */
static inline size_t column_rows(const CouplingPlan *p, size_t few) {
  return few * (p->side == 1 ? 9 : 16);
}

/* Numbers of a convolution's filters, and of their gradient. */
size_t coupling_filter_count(const CouplingPlan *p, size_t few, size_t wide);

/* Filters are made in pieces: those of 32 channels of the hidden layer, of some of the
 * few that are read. */
static inline size_t coupling_filter_pieces(const Coupling *c, const CouplingConv *conv) {
  return coupling_blocks(c) * parts_of(conv->few - conv->first, FEW_CHANNELS);
}
void coupling_filters(const CouplingConv *c, const CouplingPlan *p, size_t i);
/* A piece of the weight's gradient from the filters', and what is the largest in it. */
void coupling_filters_back(const CouplingConv *c, const CouplingPlan *p, size_t i);

/* The columns of tile t, their rows ld apart and filled up with zeros: conv1's, of
 * channel `which` of h = (hx, y1), whose data may be NULL where there is none to read;
 * conv3's backwards, of dv's. */
void coupling_columns(const CouplingPlan *p, const Act *hx, const Act *y1, size_t t,
                      Channels which, real *cols, size_t ld);
void coupling_dv_columns(const CouplingPlan *p, const Act *dv, size_t t, Channels which,
                         real *cols, size_t ld);
/* A tile's columns as panels, `first` and those behind it. */
void coupling_pack(const CouplingPlan *p, const real *cols, size_t rows, size_t t,
                   size_t first, real *panels);

/* Some channels of a hidden layer's panel of cells, whole blocks or part of one, from a
 * panel of columns, those of the channels that are read; `add`: to what `out` holds. */
void coupling_widen(const CouplingConv *c, const CouplingPlan *p, Channels which,
                    const real *panel, bool add, real *out);
/* Panel q of tile t of the planes of some channels from its hidden layer; `panel` is
 * scratch for all of them. */
void coupling_narrow(const CouplingConv *c, const CouplingPlan *p, Channels which,
                     size_t t, size_t q, const real *h, real *panel, real *planes);
/* dst, pixel row r of few channel f, from the planes. */
void coupling_gather(const CouplingConv *c, const CouplingPlan *p, const real *planes,
                     size_t f, size_t r, real *dst);

/* The sum over cells that is the filters' gradient is made in so many blocks, and each
 * block in so many parts, which are added up in coupling_filters_back: panels of cells
 * belong to them in turn. */
size_t coupling_sum_blocks(const CouplingConv *c, const CouplingPlan *p);
/* Parts of the weight's gradient of which the largest magnitude is known. */
size_t coupling_known_parts(const CouplingConv *c, const CouplingPlan *p);
size_t coupling_sum_parts(const CouplingConv *c, const CouplingPlan *p);
/* Numbers of the filters' gradient. */
size_t coupling_sum_room(const CouplingConv *c, const CouplingPlan *p);

/* Panels of cells: `count` from `first` of all on. */
typedef struct Panels {
  size_t first, count;
} Panels;

/* Piece i of blocks × parts: the products of panels of columns with the hidden layer h of
 * their cells, added to what earlier ones gave. */
void coupling_conv_sum(const CouplingConv *c, const CouplingPlan *p, const real *cols,
                       const real *h, size_t i, Panels panels);
/* Panels of `rows` rows of 32 numbers, or of as many in pairs (math/pairs.h). */
typedef struct PanelRows {
  const real *p;
  size_t rows;
  bool pairs;
} PanelRows;

/* to[rows][32], rows `ld` apart, (+)= d·hᵀ for `count` panels of d, of which rows `which`
 * count, and of h, of `wide` rows, from row 32·b on. */
void coupling_sum(Precision how, const CouplingPlan *p, PanelRows d, Channels which,
                  const real *h, size_t wide, size_t b, size_t count, bool add, real *to,
                  size_t ld);

#endif

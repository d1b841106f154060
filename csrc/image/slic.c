/* Super-pixels by k-means over colour and place. */
#include "image/slic.h"

#include <math.h>
#include <string.h>

#include "base/size.h"

typedef struct Centre {
  float colour[3];
  float row, column;
} Centre;

typedef struct Sum {
  double colour[3], row, column;
  size_t count;
} Sum;

typedef struct Slic {
  size_t height, width, pixels;
  size_t rows, columns; /* of the grid of centres */
  float *colour;        /* pixels x 3 */
  float *distance;      /* pixels; to the nearest centre so far */
  int32_t *nearest;     /* pixels; index of that centre */
  int32_t *region;      /* pixels; final label, 0 = none yet */
  int32_t *queue;       /* pixels; of one region while it grows */
  Centre *centre;       /* at most one for each pixel */
  Sum *sum;
} Slic;

enum { BYTES_PER_PIXEL = 3 * 4 + 4 * 4 + sizeof(Centre) + sizeof(Sum) };

bool slic_scratch(size_t height, size_t width, size_t *bytes) {
  size_t pixels;
  return checked_mul(height, width, &pixels) && pixels <= INT32_MAX &&
         checked_mul(pixels, BYTES_PER_PIXEL, bytes);
}

static void *take(char **at, size_t bytes) {
  void *part = *at;
  *at += bytes;
  return part;
}

/* Doubles first, so that every part is aligned. */
static void carve(Slic *s, void *scratch) {
  char *at = scratch;
  size_t n = s->pixels;
  s->sum = take(&at, n * sizeof *s->sum);
  s->centre = take(&at, n * sizeof *s->centre);
  s->colour = take(&at, n * 3 * sizeof *s->colour);
  s->distance = take(&at, n * sizeof *s->distance);
  s->nearest = take(&at, n * sizeof *s->nearest);
  s->region = take(&at, n * sizeof *s->region);
  s->queue = take(&at, n * sizeof *s->queue);
}

static double linear(double v) {
  return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

static double lab_curve(double t) {
  return t > 216.0 / 24389 ? cbrt(t) : (24389.0 / 27 * t + 16) / 116;
}

/* sRGB to CIE L*a*b* under D65. */
static void to_lab(double r, double g, double b, float lab[3]) {
  r = linear(r), g = linear(g), b = linear(b);
  double x = lab_curve((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  double y = lab_curve(0.2126729 * r + 0.7151522 * g + 0.0721750 * b);
  double z = lab_curve((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883);
  lab[0] = (float)(116 * y - 16);
  lab[1] = (float)(500 * (x - y));
  lab[2] = (float)(200 * (y - z));
}

static void read_colours(Slic *s, const real *image, size_t channels) {
  size_t n = s->pixels;
  memset(s->colour, 0, 3 * n * sizeof *s->colour);
  for (size_t p = 0; p < n; p++) {
    if (channels == 3)
      to_lab(image[p], image[n + p], image[2 * n + p], s->colour + 3 * p);
    else
      for (size_t c = 0; c < channels; c++)
        s->colour[3 * p + c] = (float)(100 * image[c * n + p]);
  }
}

static float colour_distance(const float *a, const float *b) {
  float x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
  return x * x + y * y + z * z;
}

/* Squared colour gradient; the image ends mirror themselves. */
static float gradient(const Slic *s, size_t row, size_t column) {
  size_t up = row ? row - 1 : 0, down = row + 1 < s->height ? row + 1 : row;
  size_t left = column ? column - 1 : 0;
  size_t right = column + 1 < s->width ? column + 1 : column;
  const float *c = s->colour;
  return colour_distance(c + 3 * (up * s->width + column),
                         c + 3 * (down * s->width + column)) +
         colour_distance(c + 3 * (row * s->width + left),
                         c + 3 * (row * s->width + right));
}

static size_t clamp(double v, size_t high) {
  if (!(v > 0)) return 0;
  return v < (double)high ? (size_t)v : high;
}

/* The middle of cell i of `cells` that share `length` pixels. */
static size_t middle(size_t i, size_t cells, size_t length) {
  return clamp(((double)i + 0.5) * (double)length / (double)cells, length - 1);
}

/* A regular grid, each centre moved off an edge to the flattest of 3x3. */
static void place_centre(Slic *s, size_t i, size_t j) {
  size_t row = middle(i, s->rows, s->height);
  size_t column = middle(j, s->columns, s->width);
  size_t best_row = row, best_column = column;
  float best = gradient(s, row, column);
  for (size_t y = row ? row - 1 : 0; y <= row + 1 && y < s->height; y++)
    for (size_t x = column ? column - 1 : 0; x <= column + 1 && x < s->width; x++)
      if (gradient(s, y, x) < best) best = gradient(s, best_row = y, best_column = x);
  Centre *centre = s->centre + i * s->columns + j;
  memcpy(centre->colour, s->colour + 3 * (best_row * s->width + best_column),
         sizeof centre->colour);
  centre->row = (float)best_row;
  centre->column = (float)best_column;
}

static void place_centres(Slic *s, double spacing) {
  s->rows = clamp((double)s->height / spacing + 0.5, s->height);
  s->columns = clamp((double)s->width / spacing + 0.5, s->width);
  if (s->rows == 0) s->rows = 1;
  if (s->columns == 0) s->columns = 1;
  for (size_t i = 0; i < s->rows; i++)
    for (size_t j = 0; j < s->columns; j++) place_centre(s, i, j);
}

/* Pixels within two spacings of centre k go to it when it is the nearest. */
static void claim_pixels(Slic *s, size_t k, double reach, float place_weight) {
  const Centre *c = s->centre + k;
  size_t top = clamp(c->row - reach, s->height - 1);
  size_t bottom = clamp(c->row + reach, s->height - 1);
  size_t left = clamp(c->column - reach, s->width - 1);
  size_t right = clamp(c->column + reach, s->width - 1);
  for (size_t y = top; y <= bottom; y++)
    for (size_t x = left; x <= right; x++) {
      size_t p = y * s->width + x;
      float dy = (float)y - c->row, dx = (float)x - c->column;
      float d = colour_distance(s->colour + 3 * p, c->colour) +
                place_weight * (dy * dy + dx * dx);
      if (d < s->distance[p]) {
        s->distance[p] = d;
        s->nearest[p] = (int32_t)k;
      }
    }
}

static void move_centres(Slic *s, size_t count) {
  memset(s->sum, 0, count * sizeof *s->sum);
  for (size_t p = 0; p < s->pixels; p++) {
    Sum *sum = s->sum + s->nearest[p];
    for (int c = 0; c < 3; c++) sum->colour[c] += s->colour[3 * p + c];
    size_t row = p / s->width;
    sum->row += (double)row;
    sum->column += (double)(p - row * s->width);
    sum->count++;
  }
  for (size_t k = 0; k < count; k++) {
    const Sum *sum = s->sum + k;
    if (sum->count == 0)
      continue; /* a centre that is nearest to no pixel stays where it is */
    double n = (double)sum->count;
    for (int c = 0; c < 3; c++) s->centre[k].colour[c] = (float)(sum->colour[c] / n);
    s->centre[k].row = (float)(sum->row / n);
    s->centre[k].column = (float)(sum->column / n);
  }
}

/* Flood the 4-connected region of pixels nearest to one centre; returns its
 * size and, when it touches one, the label of a finished region beside it. */
static size_t flood(Slic *s, size_t first, int32_t label, int32_t *beside) {
  size_t size = 0;
  s->queue[size++] = (int32_t)first;
  s->region[first] = label;
  for (size_t at = 0; at < size; at++) {
    size_t p = (size_t)s->queue[at], column = p % s->width;
    size_t next[4];
    int n = 0;
    if (column > 0) next[n++] = p - 1;
    if (column + 1 < s->width) next[n++] = p + 1;
    if (p >= s->width) next[n++] = p - s->width;
    if (p + s->width < s->pixels) next[n++] = p + s->width;
    for (int i = 0; i < n; i++) {
      int32_t *region = s->region + next[i];
      if (*region == 0 && s->nearest[next[i]] == s->nearest[first]) {
        *region = label;
        s->queue[size++] = (int32_t)next[i];
      } else if (*region != 0 && *region != label) {
        *beside = *region;
      }
    }
  }
  return size;
}

/* Every region becomes connected; a scrap under a quarter of the usual size
 * joins a region beside it. */
static size_t connect(Slic *s, double usual) {
  int32_t count = 0;
  memset(s->region, 0, s->pixels * sizeof *s->region);
  for (size_t p = 0; p < s->pixels; p++) {
    if (s->region[p]) continue;
    int32_t beside = 0;
    size_t size = flood(s, p, count + 1, &beside);
    if (beside == 0 || (double)size >= usual / 4) {
      count++;
      continue;
    }
    for (size_t i = 0; i < size; i++) s->region[s->queue[i]] = beside;
  }
  return (size_t)count;
}

size_t slic(const real *image, size_t channels, size_t height, size_t width,
            const SlicOptions *options, void *scratch, real *labels) {
  Slic s = {.height = height, .width = width, .pixels = height * width};
  carve(&s, scratch);
  read_colours(&s, image, channels);
  double usual = (double)s.pixels / (double)options->segments;
  double spacing = sqrt(usual);
  place_centres(&s, spacing);
  size_t centres = s.rows * s.columns;
  float place_weight = (float)(options->compactness * options->compactness / usual);
  /* A pixel is within one grid cell, at most 1.5 spacings, of its own centre
   * at first, so two spacings reach every pixel. */
  memset(s.nearest, 0, s.pixels * sizeof *s.nearest);
  for (size_t i = 0; i < options->iterations; i++) {
    for (size_t p = 0; p < s.pixels; p++) s.distance[p] = INFINITY;
    for (size_t k = 0; k < centres; k++)
      claim_pixels(&s, k, 2 * spacing + 1, place_weight);
    move_centres(&s, centres);
  }
  size_t count = connect(&s, usual);
  for (size_t p = 0; p < s.pixels; p++) labels[p] = (real)s.region[p];
  return count;
}

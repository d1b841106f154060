/* PNG, read with libpng.
 *
 * libpng only unpacks and unfilters here; palette, transparency and Adam7 are
 * few lines of our own, which makes raw samples the same path as colours and
 * needs one row of memory, also for interlaced files.
 *
 * Strict on purpose: a wrong checksum in what pixels depend on, too little or
 * too much pixel data and an index outside the palette are errors.  What no
 * pixel depends on is passed over (image/png_chunks.h).  Gamma and colour
 * profiles are not applied: numbers are the file's. */
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "image/png_chunks.h"

/* Deflate cannot expand a byte to more than this many (RFC 1951: a code of one
 * bit for a match of 258, twice). */
#define DEFLATE_MAX_RATIO 1032

/* All that a libpng call may leave behind, apart from the frame that calls
 * setjmp, so that no local variable is in doubt after a longjmp. */
typedef struct PngReader {
  png_structp png;
  png_infop info;
  PngFeed feed;
  PngExtras extras;
  size_t n; /* bytes of the file */
  bool raw;
  ImageError *error;
  ImageHeader header;
  png_uint_32 width, height;
  int depth, colour, interlace;
  int stored; /* samples a pixel in the file */
  const ImageSink *sink;
  png_byte *row;
  uint16_t *samples;
  png_colorp palette;
  int colours; /* in the palette */
} PngReader;

static bool matches(const uint8_t *bytes, size_t n) {
  return n >= 8 && png_sig_cmp(bytes, 0, 8) == 0;
}

static void on_error(png_structp png, png_const_charp message) {
  PngReader *r = png_get_error_ptr(png);
  if (strstr(message, "emory") != NULL) /* in different words and cases */
    image_fail(r->error, ENOMEM, "not enough memory");
  else if (strstr(message, "unhandled critical chunk") != NULL)
    image_fail(r->error, ENOTSUP, "PNG with an additional kind of chunk is not supported: %s",
               message);
  else
    image_fail(r->error, EBADMSG, "damaged PNG: %s", message);
  png_longjmp(png, 1);
}

/* Bytes after the end of the compressed stream belong to no pixel: not an error. */
static void on_warning(png_structp png, png_const_charp message) {
  if (strstr(message, "Extra compressed data") == NULL) on_error(png, message);
}

static void on_read(png_structp png, png_bytep out, size_t n) {
  PngReader *r = png_get_io_ptr(png);
  const uint8_t *bytes = png_feed_take(&r->feed, n);
  if (bytes == NULL) png_error(png, "the file ends too early");
  memcpy(out, bytes, n);
}

/* Checks of our own, made while libpng is active, end like libpng's. */
static void fail_unless(PngReader *r, bool ok) {
  if (!ok) png_longjmp(r->png, 1);
}

static void set_limits(PngReader *r) {
  png_set_user_limits(r->png, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE);
  png_set_crc_action(r->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_set_benign_errors(r->png, 1); /* they come as warnings, and so to on_warning */
}

static bool check_size(const PngReader *r) {
  if (!image_check_sides(r->width, r->height, r->error)) return false;
  uint64_t bits = (uint64_t)r->width * r->height * (uint64_t)(r->stored * r->depth);
  if (bits / 8 / DEFLATE_MAX_RATIO > r->n)
    return image_fail(r->error, EBADMSG,
                      "damaged PNG: %zu bytes cannot hold %ux%u pixels", r->n,
                      (unsigned)r->width, (unsigned)r->height);
  return true;
}

static void describe(PngReader *r) {
  bool palette = r->colour == PNG_COLOR_TYPE_PALETTE;
  bool grey = !palette && !(r->colour & PNG_COLOR_MASK_COLOR);
  bool alpha = r->colour & PNG_COLOR_MASK_ALPHA;
  png_get_PLTE(r->png, r->info, &r->palette, &r->colours);
  if (r->extras.trns != NULL) alpha = true;
  r->header.width = r->width;
  r->header.height = r->height;
  r->header.channels = (grey ? 1 : 3) + (alpha ? 1 : 0);
  r->header.max = palette ? 255 : (1u << r->depth) - 1;
  r->header.orientation = r->extras.orientation;
  r->header.palette = palette;
  if (palette && r->raw) r->header.channels = 1;
}

static void read_header(PngReader *r) {
  png_set_read_fn(r->png, r, on_read);
  set_limits(r);
  png_read_info(r->png, r->info);
  png_get_IHDR(r->png, r->info, &r->width, &r->height, &r->depth, &r->colour,
               &r->interlace, NULL, NULL);
  r->stored = png_get_channels(r->png, r->info);
  fail_unless(r, check_size(r));
  describe(r);
}

static void look_up(PngReader *r, size_t count) {
  const PngExtras *x = &r->extras;
  int channels = r->header.channels;
  for (size_t i = 0; i < count; i++) {
    int index = r->row[i];
    uint16_t *out = r->samples + i * (size_t)channels;
    if (index >= r->colours) png_error(r->png, "index outside the palette");
    if (r->raw) {
      out[0] = (uint16_t)index;
      continue;
    }
    out[0] = r->palette[index].red;
    out[1] = r->palette[index].green;
    out[2] = r->palette[index].blue;
    if (channels == 4) out[3] = (size_t)index < x->trns_length ? x->trns[index] : 255;
  }
}

/* Is this pixel the one colour that the file declares transparent? */
static bool is_key(const PngReader *r, const uint16_t *p) {
  const uint8_t *key = r->extras.trns; /* sixteen bits for each sample */
  for (int c = 0; c < r->stored; c++, key += 2)
    if (p[c] != ((unsigned)(key[0] << 8 | key[1]) & r->header.max)) return false;
  return true;
}

static void widen(PngReader *r, size_t count) {
  int stored = r->stored, channels = r->header.channels;
  const png_byte *in = r->row;
  for (size_t i = 0; i < count; i++) {
    uint16_t *out = r->samples + i * (size_t)channels;
    for (int c = 0; c < stored; c++) {
      out[c] = in[0];
      if (r->depth == 16) out[c] = (uint16_t)(in[0] << 8 | in[1]);
      in += r->depth == 16 ? 2 : 1;
    }
    if (channels > stored) out[stored] = is_key(r, out) ? 0 : (uint16_t)r->header.max;
  }
}

static void read_span(PngReader *r, ImageSpan span) {
  png_read_row(r->png, r->row, NULL);
  if (r->colour == PNG_COLOR_TYPE_PALETTE)
    look_up(r, span.count);
  else
    widen(r, span.count);
  image_put_row(r->sink, &r->header, r->samples, span);
}

static void read_pass(PngReader *r, int pass) {
  size_t rows = PNG_PASS_ROWS(r->height, pass);
  ImageSpan span = {.column = (size_t)PNG_PASS_START_COL(pass),
                    .step = (size_t)PNG_PASS_COL_OFFSET(pass),
                    .count = PNG_PASS_COLS(r->width, pass)};
  for (size_t i = 0; i < rows && span.count > 0; i++) {
    span.row = (size_t)PNG_PASS_START_ROW(pass) + i * (size_t)PNG_PASS_ROW_OFFSET(pass);
    read_span(r, span);
  }
}

static void read_rows(PngReader *r) {
  png_set_packing(r->png); /* one byte for each sample of 1, 2 or 4 bits */
  png_read_update_info(r->png, r->info);
  if (r->interlace == PNG_INTERLACE_ADAM7) {
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; pass++) read_pass(r, pass);
  } else {
    for (size_t row = 0; row < r->height; row++)
      read_span(r, (ImageSpan){row, 0, 1, r->width});
  }
  png_read_end(r->png, NULL);
}

static bool run(PngReader *r, void (*step)(PngReader *)) {
  if (setjmp(png_jmpbuf(r->png))) return false;
  step(r);
  return true;
}

static bool start(PngReader *r, const uint8_t *bytes, size_t n, bool raw, ImageError *e) {
  *r = (PngReader){.feed = png_feed(bytes, n), .n = n, .raw = raw, .error = e};
  if (!png_find_extras(bytes, n, &r->extras, e)) return false;
  r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
  if (r->png != NULL) r->info = png_create_info_struct(r->png);
  if (r->info == NULL) return image_fail(e, ENOMEM, "not enough memory");
  return run(r, read_header);
}

static void finish(PngReader *r) {
  png_destroy_read_struct(&r->png, &r->info, NULL);
  free(r->row);
  free(r->samples);
}

static bool header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                   ImageError *e) {
  PngReader r;
  bool ok = start(&r, bytes, n, raw, e);
  *h = r.header;
  finish(&r);
  return ok;
}

static bool make_rows(PngReader *r) {
  size_t width = r->width;
  r->row = malloc(width * (size_t)r->stored * 2);
  r->samples = malloc(width * (size_t)r->header.channels * sizeof *r->samples);
  return (r->row != NULL && r->samples != NULL) ||
         image_fail(r->error, ENOMEM, "not enough memory");
}

static bool decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  PngReader r;
  bool ok = start(&r, bytes, n, sink->raw, e);
  r.sink = sink;
  ok = ok && image_fits(&r.header, sink, e) && make_rows(&r) && run(&r, read_rows);
  finish(&r);
  return ok;
}

const ImageCodec image_png = {"PNG", matches, header, decode, NULL};

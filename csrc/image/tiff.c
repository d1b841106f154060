/* TIFF, read with libtiff where the core was built with it: black and white, grey,
 * palette, RGB, YCbCr and CMYK, 1 to 16 bits and 32-bit floating point, strips and tiles
 * of every compression that the library has.  The first page that is no preview is read.
 *
 * What libtiff warns of while it reads tags (unknown ones, mostly) is no damage; all it
 * says while it reads pixels is, but for the age of an encoding. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/codec.h"

static bool matches(const uint8_t *bytes, size_t n) {
  static const char heads[4][4] = {"II*\0", "MM\0*", "II+\0", "MM\0+"};
  for (int i = 0; n >= 8 && i < 4; i++)
    if (memcmp(bytes, heads[i], 4) == 0) return true;
  return false;
}

#ifdef HAVE_TIFF
#include <stdio.h>

#include "image/ifd.h"
#include "image/tiff.h"

/* Pages that are counted at the most. */
#define MAX_PAGES 10000
/* Bytes that libtiff may ask for at once; pixels lie in memory of our own. */
#define MAX_ALLOCATION ((tmsize_t)1 << 29)
/* Pixels of a tile beyond the picture's own. */
#define SPARE_PIXELS ((uint64_t)1 << 22)

/* --- the file in memory --- */

static tmsize_t on_read(thandle_t handle, void *to, tmsize_t n) {
  TiffReader *r = handle;
  size_t left = r->n - r->at;
  size_t take = n < 0 ? 0 : (size_t)n < left ? (size_t)n : left;
  memcpy(to, r->bytes + r->at, take);
  r->at += take;
  return (tmsize_t)take;
}

static tmsize_t on_write(thandle_t handle, void *from, tmsize_t n) {
  (void)handle, (void)from, (void)n;
  return -1;
}

/* Beyond the end there is nothing to read. */
static toff_t on_seek(thandle_t handle, toff_t to, int whence) {
  TiffReader *r = handle;
  if (whence == SEEK_CUR) to += r->at;
  if (whence == SEEK_END) to += r->n;
  r->at = to < r->n ? (size_t)to : r->n;
  return to;
}

static int on_close(thandle_t handle) {
  (void)handle;
  return 0;
}

static toff_t on_size(thandle_t handle) { return ((TiffReader *)handle)->n; }

/* --- what libtiff has to say --- */

/* Is it the machine that lacks something?  The limits above are no such case. */
static bool lacks_memory(const char *format) {
  static const char *const words[] = {"emory", "No space", "llocate"};
  if (strstr(format, "limit") != NULL || strstr(format, "threshold") != NULL)
    return false;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strstr(format, words[i]) != NULL) return true;
  return false;
}

/* The first complaint is the reason; it may hold bytes of the file. */
static void keep_reason(TiffReader *r, const char *format, va_list args) {
  char text[160];
  if (r->failed) return;
  r->failed = true;
  vsnprintf(text, sizeof text, format, args);
  if (lacks_memory(format)) {
    image_fail(r->error, ENOMEM, "not enough memory");
    return;
  }
  for (char *c = text; *c != '\0'; c++)
    if (*c < ' ' || *c > '~') *c = '?';
  image_fail(r->error, EBADMSG, "damaged TIFF: %s", text);
}

static int on_error(TIFF *tiff, void *reader, const char *module, const char *format,
                    va_list args) {
  (void)tiff, (void)module;
  keep_reason(reader, format, args);
  return 1;
}

static int on_warning(TIFF *tiff, void *reader, const char *module, const char *format,
                      va_list args) {
  static const char old_lzw[] = "Old-style LZW codes"; /* which it reads, and soundly */
  (void)tiff, (void)module;
  bool sound = strncmp(format, old_lzw, sizeof old_lzw - 1) == 0;
  if (((TiffReader *)reader)->reading && !sound) keep_reason(reader, format, args);
  return 1;
}

/* --- opening --- */

enum { NEW_SUBFILE_TYPE = 254, SUBFILE_TYPE = 255, REDUCED = 1, OLD_REDUCED = 2 };

/* Pages that are no previews of others; where the first of them is, 0 when there is none.
 * `mark` moves on at powers of two, so that a chain which goes round meets it. */
static uint64_t find_page(const Ifd *ifd, unsigned *pages) {
  uint64_t found = 0, at = ifd->first, mark = 0;
  *pages = 0;
  for (unsigned i = 0; i < MAX_PAGES && at != 0 && at != mark; at = ifd_next(ifd, at)) {
    if ((i & (i + 1)) == 0) mark = at;
    i++;
    if (ifd_value(ifd, at, NEW_SUBFILE_TYPE, 0) & REDUCED ||
        ifd_value(ifd, at, SUBFILE_TYPE, 0) == OLD_REDUCED)
      continue;
    if (found == 0) found = at;
    ++*pages;
  }
  return found;
}

static TIFF *open_client(TiffReader *r) {
  TIFFOpenOptions *o = TIFFOpenOptionsAlloc();
  if (o == NULL) return NULL;
  TIFFOpenOptionsSetMaxSingleMemAlloc(o, MAX_ALLOCATION);
  TIFFOpenOptionsSetErrorHandlerExtR(o, on_error, r);
  TIFFOpenOptionsSetWarningHandlerExtR(o, on_warning, r);
  TIFF *t = TIFFClientOpenExt("picture", "rm", r, on_read, on_write, on_seek, on_close,
                              on_size, NULL, NULL, o);
  TIFFOpenOptionsFree(o);
  return t;
}

static bool give_reason(const TiffReader *r, const char *otherwise) {
  if (!r->failed) image_fail(r->error, EBADMSG, "damaged TIFF: %s", otherwise);
  return false;
}

static bool start(TiffReader *r, const uint8_t *bytes, size_t n, bool raw,
                  ImageError *e) {
  Ifd ifd;
  memset(r, 0, sizeof *r);
  r->bytes = bytes;
  r->n = n;
  r->raw = raw;
  r->error = e;
  if (!ifd_open(&ifd, bytes, n)) return give_reason(r, "it has no directory");
  unsigned pages;
  uint64_t page = find_page(&ifd, &pages);
  if (page == 0)
    return image_fail(e, ENOTSUP, "TIFF of previews only, as raw files of cameras are");
  r->tiff = open_client(r);
  if (r->tiff == NULL || !TIFFSetSubDirectory(r->tiff, page))
    return give_reason(r, "its directory cannot be read");
  r->failed = false; /* in tags of no use, or this would not be reached */
  r->header.pages = pages;
  /* libtiff would take indices for greys where the palette is missing. */
  uint16_t *map;
  if (ifd_value(&ifd, page, TIFFTAG_PHOTOMETRIC, 0) == PHOTOMETRIC_PALETTE &&
      !TIFFGetField(r->tiff, TIFFTAG_COLORMAP, &map, &map, &map))
    return give_reason(r, "it has no palette");
  r->extra_unsaid = ifd_value(&ifd, page, TIFFTAG_EXTRASAMPLES, UINT32_MAX) == UINT32_MAX;
  return tiff_describe(r);
}

static void finish(TiffReader *r) {
  if (r->tiff != NULL) TIFFClose(r->tiff);
}

static bool header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                   ImageError *e) {
  TiffReader r;
  bool ok = start(&r, bytes, n, raw, e);
  *h = r.header;
  finish(&r);
  return ok;
}

/* --- pixels --- */

/* Strips or tiles, one of which is decoded at a time. */
typedef struct Blocks {
  bool tiled;
  uint32_t width, height; /* of a block */
  size_t row, size;       /* bytes of a row and of a block of one plane */
  int planes;
  uint8_t *bytes; /* of all planes */
  void *samples;  /* of a row, for the sink */
} Blocks;

static bool measure(TiffReader *r, Blocks *b) {
  memset(b, 0, sizeof *b);
  b->tiled = TIFFIsTiled(r->tiff);
  b->planes = r->separate ? r->stored : 1;
  if (b->tiled) {
    TIFFGetField(r->tiff, TIFFTAG_TILEWIDTH, &b->width);
    TIFFGetField(r->tiff, TIFFTAG_TILELENGTH, &b->height);
    if ((uint64_t)b->width * b->height > (uint64_t)r->width * r->height + SPARE_PIXELS)
      return give_reason(r, "its tiles are too large");
  } else {
    b->width = r->width;
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_ROWSPERSTRIP, &b->height);
    if (b->height > r->height) b->height = r->height;
  }
  tmsize_t row = b->tiled ? TIFFTileRowSize(r->tiff) : TIFFScanlineSize(r->tiff);
  if (row <= 0 || b->width == 0 || b->height == 0)
    return give_reason(r, "its strips or tiles have no size");
  b->row = (size_t)row;
  b->size = b->row * b->height;
  size_t least = ((size_t)b->width * r->bits * (r->separate ? 1 : r->stored) + 7) / 8;
  return b->row >= least || give_reason(r, "its rows are too short");
}

static bool make_room(const TiffReader *r, Blocks *b) {
  b->bytes = calloc((size_t)b->planes, b->size); /* a block may be cut short */
  b->samples = malloc((size_t)b->width * 4 * sizeof(float));
  if (b->bytes != NULL && b->samples != NULL) return true;
  image_fail(r->error, ENOMEM, "not enough memory");
  return false;
}

/* Whole number k of a row, packed from the highest bit on. */
static uint16_t whole_at(const uint8_t *row, size_t k, unsigned bits) {
  if (bits == 16) return ((const uint16_t *)row)[k];
  if (bits == 8) return row[k];
  size_t at = k * bits;
  return (uint16_t)(row[at / 8] >> (8 - bits - at % 8) & ((1u << bits) - 1));
}

/* Colours that are times alpha in the file, divided by it again. */
static void divide(uint16_t *p, int channels, uint64_t max) {
  uint64_t alpha = p[channels - 1];
  for (int c = 0; c < channels - 1; c++) {
    uint64_t v =
        alpha == 0 ? 0 : (2 * (uint64_t)p[c] * max + alpha) / (2 * alpha); /* rounded */
    p[c] = (uint16_t)(v < max ? v : max);
  }
}

/* One pixel as the header describes it, from the samples that the file has of it. */
static void take_pixel(const TiffReader *r, const uint16_t *stored, uint16_t *p) {
  const ImageHeader *h = &r->header;
  if (r->photometric == PHOTOMETRIC_SEPARATED) {
    for (int c = 0; c < 3; c++)
      p[c] = image_under_ink(255u - stored[c], 255u - stored[3]);
  } else if (h->palette && !r->raw) {
    for (int c = 0; c < 3; c++) p[c] = (uint16_t)(r->map[c][stored[0]] >> r->map_shift);
  } else {
    memcpy(p, stored, (size_t)h->channels * sizeof *p);
    if (r->photometric == PHOTOMETRIC_MINISWHITE) p[0] = (uint16_t)(h->max - p[0]);
    if (r->premultiplied && !r->raw) divide(p, h->channels, h->max);
  }
}

/* Row `y` of a block, ready for the sink. */
static void take_row(const TiffReader *r, const Blocks *b, size_t y, size_t count) {
  const uint8_t *row = b->bytes + y * b->row;
  size_t channels = (size_t)r->header.channels, samples = r->stored;
  for (size_t i = 0; i < count; i++) {
    uint16_t stored[5] = {0};
    for (size_t c = 0; c < samples; c++) {
      const uint8_t *from = r->separate ? row + c * b->size : row;
      size_t k = r->separate ? i : i * samples + c;
      if (r->header.floating) {
        if (c < channels)
          ((float *)b->samples)[i * channels + c] = ((const float *)from)[k];
      } else {
        stored[c] = whole_at(from, k, r->bits);
      }
    }
    if (!r->header.floating) take_pixel(r, stored, (uint16_t *)b->samples + i * channels);
  }
}

/* libtiff takes what a list of places lacks to be at the file's beginning. */
static bool has_place(const TiffReader *r, uint32_t block) {
  uint64_t at = TIFFGetStrileOffset(r->tiff, block);
  uint64_t count = TIFFGetStrileByteCount(r->tiff, block);
  return at > 0 && count > 0 && at <= r->n && count <= r->n - at;
}

/* All planes of the block whose first pixel is in column x and row y. */
static bool read_block(TiffReader *r, const Blocks *b, uint32_t x, uint32_t y) {
  uint32_t rows = b->tiled || r->height - y > b->height ? b->height : r->height - y;
  tmsize_t expected = (tmsize_t)(b->row * rows), got = 0;
  for (int plane = 0; plane < b->planes; plane++) {
    uint8_t *to = b->bytes + (size_t)plane * b->size;
    uint16_t sample = (uint16_t)plane;
    uint32_t block = b->tiled ? TIFFComputeTile(r->tiff, x, y, 0, sample)
                              : TIFFComputeStrip(r->tiff, y, sample);
    if (!has_place(r, block)) return give_reason(r, "pixels are missing");
    got = b->tiled ? TIFFReadEncodedTile(r->tiff, block, to, expected)
                   : TIFFReadEncodedStrip(r->tiff, block, to, expected);
    if (got != expected || r->failed) return give_reason(r, "pixels are missing");
  }
  return true;
}

static bool put_block(const TiffReader *r, const Blocks *b, uint32_t x, uint32_t y) {
  const ImageHeader *h = &r->header;
  size_t count = r->width - x < b->width ? r->width - x : b->width;
  for (uint32_t i = 0; i < b->height && y + i < r->height; i++) {
    take_row(r, b, i, count);
    if (h->floating &&
        !image_check_finite(r->sink, b->samples, count * (size_t)h->channels, r->error))
      return false;
    image_put_row(r->sink, h, b->samples, (ImageSpan){y + i, x, 1, count});
  }
  return true;
}

static bool read_blocks(TiffReader *r) {
  Blocks b;
  bool ok = measure(r, &b) && make_room(r, &b);
  for (uint32_t y = 0; ok && y < r->height; y += b.height)
    for (uint32_t x = 0; ok && x < r->width; x += b.width)
      ok = read_block(r, &b, x, y) && put_block(r, &b, x, y);
  free(b.bytes);
  free(b.samples);
  return ok;
}

/* Colours of 8 bits that libtiff converts, in the order in which they are stored. */
static bool read_by_libtiff(TiffReader *r) {
  char why[1024] = "";
  TIFFRGBAImage image;
  if (!TIFFRGBAImageBegin(&image, r->tiff, 1, why))
    return give_reason(r, "unknown colours");
  size_t count = (size_t)r->width * r->height;
  uint32_t *raster = malloc(count * sizeof *raster);
  uint16_t *samples = malloc((size_t)r->width * 3 * sizeof *samples);
  bool ok = raster != NULL && samples != NULL;
  if (!ok) image_fail(r->error, ENOMEM, "not enough memory");
  image.req_orientation = image.orientation;
  if (ok && (!TIFFRGBAImageGet(&image, raster, r->width, r->height) || r->failed))
    ok = give_reason(r, "pixels are missing");
  for (size_t y = 0; ok && y < r->height; y++) {
    for (size_t i = 0; i < r->width; i++)
      for (int c = 0; c < 3; c++)
        samples[3 * i + (size_t)c] = raster[y * r->width + i] >> 8 * c & 255;
    image_put_row(r->sink, &r->header, samples, (ImageSpan){y, 0, 1, r->width});
  }
  free(raster);
  free(samples);
  TIFFRGBAImageEnd(&image);
  return ok;
}

static bool decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  TiffReader r;
  bool ok = start(&r, bytes, n, sink->raw, e) && image_fits(&r.header, sink, e);
  r.sink = sink;
  r.reading = true;
  ok = ok && (r.by_libtiff ? read_by_libtiff(&r) : read_blocks(&r));
  finish(&r);
  return ok;
}

const ImageCodec image_tiff = {"TIFF", matches, header, decode, NULL};

#else

const ImageCodec image_tiff = {
    .name = "TIFF",
    .matches = matches,
    .absent =
        "a TIFF picture, which this build cannot read: libtiff 4.5 or later was not "
        "there when it was made"};

#endif

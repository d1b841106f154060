/* JPEG, read with libjpeg-turbo: grey, colour and CMYK, sequential and progressive.
 *
 * libjpeg goes on after damage with a warning and a grey or torn picture; here
 * every warning that touches a pixel is an error, so that a truncated file is
 * never trained on.  What a sound file may hold and is not read (arithmetic, lossless
 * and hierarchical coding, 12 bits) is refused by its name, not as damage.  Pictures are
 * turned as Exif's orientation says; colour profiles are not applied, so CMYK becomes RGB
 * as it does without them: red is what is left of white after cyan and after black. */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* jpeglib.h needs size_t and FILE. */
#include <jpeglib.h>
/* jerror.h needs jpeglib.h. */
#include <jerror.h>

#include "image/codec.h"
#include "image/exif.h"

/* Huffman codes have at least one bit and each 8×8 block of the largest
 * component has at least one code. */
#define MAX_PIXELS_PER_BYTE ((size_t)8 * 64)
/* Each scan of a progressive file costs a pass over all coefficients; encoders
 * write about ten. */
#define MAX_SCANS 100

typedef struct JpegReader {
  struct jpeg_decompress_struct info;
  struct jpeg_error_mgr manager;
  struct jpeg_progress_mgr progress;
  jmp_buf jump;
  const uint8_t *bytes;
  size_t n;
  ImageError *error;
  ImageHeader header;
  int stored;    /* samples a pixel that libjpeg gives: 1 grey, 3 RGB, 4 CMYK */
  bool inverted; /* CMYK as Adobe's programs write it: 255 is no ink */
  const ImageSink *sink;
  JSAMPLE *row;
  uint16_t *samples;
} JpegReader;

static bool matches(const uint8_t *bytes, size_t n) {
  return n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

/* What a frame is that libjpeg does not read, by its marker; NULL when it is none. */
static const char *kind_of_frame(int marker) {
  switch (marker) {
    case 0xc3:
      return "lossless coding";
    case 0xc5:
    case 0xc6:
    case 0xc7:
    case 0xde:
      return "hierarchical coding";
    case 0xcb:
    case 0xcd:
    case 0xce:
    case 0xcf:
      return "arithmetic coding";
    case 0xf7:
      return "JPEG-LS's coding";
    default:
      return NULL;
  }
}

/* What a sound file may hold that makes libjpeg give up; NULL when it is damage. */
static const char *unsupported(const JpegReader *r) {
  int value = r->manager.msg_parm.i[0];
  switch (r->manager.msg_code) {
    case JERR_SOF_UNSUPPORTED:
    case JERR_UNKNOWN_MARKER:
      return kind_of_frame(value);
    case JERR_BAD_PRECISION:
      return value == 12 ? "12 bits a sample" : NULL;
    case JERR_EMPTY_IMAGE: /* of no height */
      return r->info.image_width > 0 && r->info.num_components > 0
                 ? "a height that is said after its pixels"
                 : NULL;
    case JERR_COMPONENT_COUNT:
      return "so many components";
    case JERR_CCIR601_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
      return "components sampled in such proportions";
    default:
      return NULL;
  }
}

static void on_error(j_common_ptr info) {
  JpegReader *r = info->client_data;
  const char *what = unsupported(r);
  char message[JMSG_LENGTH_MAX];
  info->err->format_message(info, message);
  if (what != NULL)
    image_fail(r->error, ENOTSUP, "JPEG with %s is not supported", what);
  else if (r->manager.msg_code == JERR_OUT_OF_MEMORY)
    image_fail(r->error, ENOMEM, "not enough memory");
  else if (r->manager.msg_code == JERR_IMAGE_TOO_BIG)
    image_fail(r->error, EFBIG, "JPEG of %ux%u pixels; at most %d a side",
               (unsigned)r->info.image_width, (unsigned)r->info.image_height,
               r->manager.msg_parm.i[0]);
  else
    image_fail(r->error, EBADMSG, "damaged JPEG: %s", message);
  longjmp(r->jump, 1);
}

/* Bytes that the decoder has just skipped on its way to a marker.  Ahead of the
 * first scan they belong to no pixel.  After a scan they may be what a damaged
 * code has left unread; cameras and network encoders fill up with one byte over
 * and over, which coded pixels never are. */
static bool is_padding(const JpegReader *r) {
  const struct jpeg_decompress_struct *j = &r->info;
  size_t skipped = (size_t)r->manager.msg_parm.i[0];
  size_t at = r->n - j->src->bytes_in_buffer;
  if (j->input_scan_number == 0) return true;
  if (skipped > at) return false;
  for (size_t i = 1; i < skipped; i++)
    if (r->bytes[at - i] != r->bytes[at - i - 1]) return false;
  return true;
}

/* Does this warning leave every pixel as it was written? */
static bool is_harmless(const JpegReader *r) {
  switch (r->manager.msg_code) {
    case JWRN_NOT_SEQUENTIAL: /* sequential scans have one set of parameters, whatever
                                 is written there */
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM: /* then every reader takes it for YCbCr */
      return true;
    case JWRN_EXTRANEOUS_DATA:
      return is_padding(r);
    default:
      return false;
  }
}

static void on_message(j_common_ptr info, int level) {
  if (level < 0 && !is_harmless(info->client_data)) on_error(info);
}

static void on_progress(j_common_ptr info) {
  JpegReader *r = info->client_data;
  if (r->info.input_scan_number <= MAX_SCANS) return;
  image_fail(r->error, EBADMSG, "damaged JPEG: more than %d scans", MAX_SCANS);
  longjmp(r->jump, 1);
}

static bool is_cmyk(const struct jpeg_decompress_struct *j) {
  return j->jpeg_color_space == JCS_CMYK || j->jpeg_color_space == JCS_YCCK;
}

static bool check_kind(const JpegReader *r) {
  const struct jpeg_decompress_struct *j = &r->info;
  if (j->arith_code)
    return image_fail(r->error, ENOTSUP, "JPEG with arithmetic coding is not supported");
  if (j->jpeg_color_space != JCS_GRAYSCALE && j->jpeg_color_space != JCS_YCbCr &&
      j->jpeg_color_space != JCS_RGB && !is_cmyk(j))
    return image_fail(r->error, ENOTSUP,
                      "JPEG in an unknown colour space is not supported: grey, YCbCr, "
                      "RGB, CMYK or YCCK is");
  return true;
}

static bool check_size(const JpegReader *r) {
  size_t width = r->info.image_width, height = r->info.image_height;
  if (!image_check_sides(width, height, r->error)) return false;
  if (width * height / MAX_PIXELS_PER_BYTE > r->n)
    return image_fail(r->error, EBADMSG,
                      "damaged JPEG: %zu bytes cannot hold %zux%zu pixels", r->n, width,
                      height);
  return true;
}

/* The orientation that the first Exif block says; 1, upright, without one. */
static int orientation_of(const struct jpeg_decompress_struct *j) {
  for (jpeg_saved_marker_ptr m = j->marker_list; m != NULL; m = m->next)
    if (m->data_length >= 6 && memcmp(m->data, "Exif", 5) == 0)
      return exif_orientation(m->data, m->data_length);
  return 1;
}

static void read_header(JpegReader *r) {
  struct jpeg_decompress_struct *j = &r->info;
  jpeg_create_decompress(j);
  j->client_data = r;
  r->progress.progress_monitor = on_progress;
  j->progress = &r->progress;
  jpeg_mem_src(j, r->bytes, r->n);
  jpeg_save_markers(j, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(j, TRUE);
  if (!check_kind(r) || !check_size(r)) longjmp(r->jump, 1);
  bool grey = j->jpeg_color_space == JCS_GRAYSCALE;
  j->out_color_space = grey ? JCS_GRAYSCALE : is_cmyk(j) ? JCS_CMYK : JCS_RGB;
  r->stored = grey ? 1 : is_cmyk(j) ? 4 : 3;
  r->inverted = j->saw_Adobe_marker;
  r->header.width = j->image_width;
  r->header.height = j->image_height;
  r->header.channels = grey ? 1 : 3;
  r->header.max = 255;
  r->header.lossy = true;
  r->header.orientation = orientation_of(j);
}

static void take_row(JpegReader *r) {
  size_t count = r->header.width * (size_t)r->header.channels;
  unsigned flip = r->inverted ? 0 : 255; /* 255 - v is v ^ 255 */
  for (size_t i = 0; i < count; i++) {
    const JSAMPLE *pixel = r->row + i / 3 * 4;
    r->samples[i] = r->stored == 4 ? image_under_ink(pixel[i % 3] ^ flip, pixel[3] ^ flip)
                                   : r->row[i];
  }
}

static void read_rows(JpegReader *r) {
  struct jpeg_decompress_struct *j = &r->info;
  jpeg_start_decompress(j);
  while (j->output_scanline < j->output_height) {
    ImageSpan span = {j->output_scanline, 0, 1, r->header.width};
    jpeg_read_scanlines(j, &r->row, 1);
    take_row(r);
    image_put_row(r->sink, &r->header, r->samples, span);
  }
  jpeg_finish_decompress(j); /* the end marker must be there too */
}

static bool run(JpegReader *r, void (*step)(JpegReader *)) {
  if (setjmp(r->jump)) return false;
  step(r);
  return true;
}

static bool start(JpegReader *r, const uint8_t *bytes, size_t n, ImageError *e) {
  memset(r, 0, sizeof *r);
  r->bytes = bytes;
  r->n = n;
  r->error = e;
  r->info.err = jpeg_std_error(&r->manager);
  r->info.client_data = r; /* libjpeg keeps both through its own clearing */
  r->manager.error_exit = on_error;
  r->manager.emit_message = on_message;
  return run(r, read_header);
}

static void finish(JpegReader *r) {
  jpeg_destroy_decompress(&r->info);
  free(r->row);
  free(r->samples);
}

static bool header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                   ImageError *e) {
  (void)raw;
  JpegReader r;
  bool ok = start(&r, bytes, n, e);
  *h = r.header;
  finish(&r);
  return ok;
}

static bool make_rows(JpegReader *r) {
  size_t width = r->header.width;
  r->row = malloc(width * (size_t)r->stored * sizeof *r->row);
  r->samples = malloc(width * (size_t)r->header.channels * sizeof *r->samples);
  return (r->row != NULL && r->samples != NULL) ||
         image_fail(r->error, ENOMEM, "not enough memory");
}

static bool decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  JpegReader r;
  bool ok = start(&r, bytes, n, e);
  r.sink = sink;
  ok = ok && image_fits(&r.header, sink, e) && make_rows(&r) && run(&r, read_rows);
  finish(&r);
  return ok;
}

const ImageCodec image_jpeg = {"JPEG", matches, header, decode, NULL};

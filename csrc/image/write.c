/* PNG, JPEG, PNM and PFM, written to memory. */
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* jpeglib.h needs size_t and FILE. */
#include <jpeglib.h>

#include "image/codec.h"

static bool no_memory(ImageError *e) {
  return image_fail(e, ENOMEM, "not enough memory");
}

/* Narrow to bytes in place, or to big-endian pairs when max is over 255. */
static const uint8_t *to_bytes(uint16_t *samples, size_t count, unsigned max) {
  uint8_t *out = (uint8_t *)samples;
  for (size_t i = 0; i < count; i++) {
    uint16_t v = samples[i];
    if (max > 255) {
      out[2 * i] = (uint8_t)(v >> 8);
      out[2 * i + 1] = (uint8_t)v;
    } else {
      out[i] = (uint8_t)v;
    }
  }
  return out;
}

/* --- PNG --- */

typedef struct PngWriter {
  png_structp png;
  png_infop info;
  const ImageSource *source;
  ImageBytes *out;
  ImageError *error;
  uint16_t *samples;
} PngWriter;

static void png_on_error(png_structp png, png_const_charp message) {
  PngWriter *w = png_get_error_ptr(png);
  image_fail(w->error, EIO, "PNG: %s", message);
  png_longjmp(png, 1);
}

static void png_on_warning(png_structp png, png_const_charp message) {
  (void)png, (void)message;
}

static void png_on_write(png_structp png, png_bytep data, size_t n) {
  PngWriter *w = png_get_io_ptr(png);
  if (!image_append(w->out, data, n)) png_error(png, "not enough memory");
}

static void png_on_flush(png_structp png) { (void)png; }

static void png_write_all(PngWriter *w) {
  const ImageSource *s = w->source;
  static const int kinds[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                              PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
  int colour = s->palette != NULL ? PNG_COLOR_TYPE_PALETTE : kinds[s->channels - 1];
  png_set_write_fn(w->png, w, png_on_write, png_on_flush);
  png_set_user_limits(w->png, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE);
  png_set_IHDR(w->png, w->info, (png_uint_32)s->width, (png_uint_32)s->height,
               s->max > 255 ? 16 : 8, colour, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (s->palette != NULL) {
    png_color colours[256];
    for (int i = 0; i < s->colours; i++) {
      const uint8_t *rgb = s->palette + (size_t)3 * (size_t)i;
      colours[i] = (png_color){rgb[0], rgb[1], rgb[2]};
    }
    png_set_PLTE(w->png, w->info, colours, s->colours);
  }
  png_write_info(w->png, w->info);
  for (size_t row = 0; row < s->height; row++) {
    image_take_row(s, row, w->samples);
    png_write_row(w->png, to_bytes(w->samples, s->width * (size_t)s->channels, s->max));
  }
  png_write_end(w->png, NULL);
}

static bool png_run(PngWriter *w, void (*step)(PngWriter *)) {
  if (setjmp(png_jmpbuf(w->png))) return false;
  step(w);
  return true;
}

bool image_write_png(const ImageSource *s, ImageBytes *out, ImageError *e) {
  PngWriter w = {.source = s, .out = out, .error = e};
  w.samples = malloc(s->width * (size_t)s->channels * sizeof *w.samples);
  w.png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, png_on_error, png_on_warning);
  if (w.png != NULL) w.info = png_create_info_struct(w.png);
  bool ok =
      w.samples != NULL && w.info != NULL ? png_run(&w, png_write_all) : no_memory(e);
  png_destroy_write_struct(&w.png, &w.info);
  free(w.samples);
  return ok;
}

/* --- JPEG --- */

/* libjpeg-turbo's own memory destination loses its buffer on an error. */
typedef struct JpegWriter {
  struct jpeg_compress_struct info;
  struct jpeg_error_mgr manager;
  struct jpeg_destination_mgr destination;
  jmp_buf jump;
  JOCTET chunk[4096];
  const ImageSource *source;
  int quality;
  ImageBytes *out;
  ImageError *error;
  uint16_t *samples;
} JpegWriter;

static void jpeg_on_error(j_common_ptr info) {
  JpegWriter *w = info->client_data;
  char message[JMSG_LENGTH_MAX];
  info->err->format_message(info, message);
  image_fail(w->error, EIO, "JPEG: %s", message);
  longjmp(w->jump, 1);
}

static void jpeg_on_message(j_common_ptr info, int level) { (void)info, (void)level; }

static void jpeg_flush(JpegWriter *w, size_t n) {
  if (!image_append(w->out, w->chunk, n)) {
    no_memory(w->error);
    longjmp(w->jump, 1);
  }
  w->destination.next_output_byte = w->chunk;
  w->destination.free_in_buffer = sizeof w->chunk;
}

static void jpeg_on_start(j_compress_ptr info) { jpeg_flush(info->client_data, 0); }

static boolean jpeg_on_full(j_compress_ptr info) {
  JpegWriter *w = info->client_data;
  jpeg_flush(w, sizeof w->chunk);
  return TRUE;
}

static void jpeg_on_end(j_compress_ptr info) {
  JpegWriter *w = info->client_data;
  jpeg_flush(w, sizeof w->chunk - w->destination.free_in_buffer);
}

static void jpeg_set_up(JpegWriter *w) {
  struct jpeg_compress_struct *j = &w->info;
  jpeg_create_compress(j);
  w->destination = (struct jpeg_destination_mgr){.init_destination = jpeg_on_start,
                                                 .empty_output_buffer = jpeg_on_full,
                                                 .term_destination = jpeg_on_end};
  j->dest = &w->destination;
  j->image_width = (JDIMENSION)w->source->width;
  j->image_height = (JDIMENSION)w->source->height;
  j->input_components = w->source->channels;
  j->in_color_space = w->source->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(j);
  jpeg_set_quality(j, w->quality, TRUE);
}

static void jpeg_write_all(JpegWriter *w) {
  const ImageSource *s = w->source;
  jpeg_set_up(w);
  jpeg_start_compress(&w->info, TRUE);
  for (size_t row = 0; row < s->height; row++) {
    image_take_row(s, row, w->samples);
    JSAMPROW line =
        (JSAMPROW)to_bytes(w->samples, s->width * (size_t)s->channels, s->max);
    jpeg_write_scanlines(&w->info, &line, 1);
  }
  jpeg_finish_compress(&w->info);
}

static bool jpeg_run(JpegWriter *w, void (*step)(JpegWriter *)) {
  if (setjmp(w->jump)) return false;
  step(w);
  return true;
}

bool image_write_jpeg(const ImageSource *s, int quality, ImageBytes *out, ImageError *e) {
  JpegWriter w;
  memset(&w, 0, sizeof w);
  w.source = s;
  w.quality = quality;
  w.out = out;
  w.error = e;
  w.info.err = jpeg_std_error(&w.manager);
  w.info.client_data = &w; /* libjpeg keeps both through its own clearing */
  w.manager.error_exit = jpeg_on_error;
  w.manager.emit_message = jpeg_on_message;
  w.samples = malloc(s->width * (size_t)s->channels * sizeof *w.samples);
  bool ok = w.samples != NULL ? jpeg_run(&w, jpeg_write_all) : no_memory(e);
  jpeg_destroy_compress(&w.info);
  free(w.samples);
  return ok;
}

/* --- PNM --- */

static bool pnm_write_rows(const ImageSource *s, uint16_t *samples, ImageBytes *out) {
  size_t count = s->width * (size_t)s->channels;
  for (size_t row = 0; row < s->height; row++) {
    image_take_row(s, row, samples);
    if (!image_append(out, to_bytes(samples, count, s->max),
                      count * (s->max > 255 ? 2 : 1)))
      return false;
  }
  return true;
}

bool image_write_pnm(const ImageSource *s, ImageBytes *out, ImageError *e) {
  char head[64];
  int n = snprintf(head, sizeof head, "P%c\n%zu %zu\n%u\n", s->channels == 1 ? '5' : '6',
                   s->width, s->height, s->max);
  uint16_t *samples = malloc(s->width * (size_t)s->channels * sizeof *samples);
  bool ok = samples != NULL && image_append(out, head, (size_t)n) &&
            pnm_write_rows(s, samples, out);
  free(samples);
  return ok || no_memory(e);
}

/* --- PFM: little-endian, the lowest row first --- */

static void pfm_row(const ImageSource *s, size_t row, uint8_t *out) {
  for (size_t i = 0; i < s->width; i++)
    for (int c = 0; c < s->channels; c++, out += 4) {
      float v = (float)s->planes[((size_t)c * s->height + row) * s->width + i];
      uint32_t bits;
      memcpy(&bits, &v, sizeof bits);
      for (int b = 0; b < 4; b++) out[b] = (uint8_t)(bits >> 8 * b);
    }
}

bool image_write_pfm(const ImageSource *s, ImageBytes *out, ImageError *e) {
  char head[64];
  int n = snprintf(head, sizeof head, "P%c\n%zu %zu\n-1.0\n",
                   s->channels == 1 ? 'f' : 'F', s->width, s->height);
  size_t bytes = s->width * (size_t)s->channels * 4;
  uint8_t *line = malloc(bytes);
  bool ok = line != NULL && image_append(out, head, (size_t)n);
  for (size_t row = s->height; ok && row-- > 0;) {
    pfm_row(s, row, line);
    ok = image_append(out, line, bytes);
  }
  free(line);
  return ok || no_memory(e);
}

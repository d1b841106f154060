/* WebP, read with libwebp where the core was built with it: lossy and lossless, 8 bits,
 * with or without alpha.  Of an animation the first frame is read, on a canvas that is
 * transparent where the frame does not reach.  The lossy kind has no checksums, so only
 * what does not decode is damage. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/codec.h"

static bool matches(const uint8_t *bytes, size_t n) {
  return n >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0;
}

#ifdef HAVE_WEBP
#include <webp/decode.h>
#include <webp/demux.h>

#include "image/exif.h"

typedef struct WebpReader {
  WebPDemuxer *demuxer;
  WebPIterator frame; /* the first one */
  ImageHeader header;
  ImageError *error;
} WebpReader;

static int orientation_of(const WebPDemuxer *demuxer) {
  WebPChunkIterator chunk;
  if (!WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) return 1;
  int orientation = exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

static bool covers(const WebPIterator *f, const ImageHeader *h) {
  return f->x_offset == 0 && f->y_offset == 0 && (size_t)f->width == h->width &&
         (size_t)f->height == h->height;
}

static bool is_lossless(const WebPIterator *f) {
  enum { LOSSLESS = 2 };
  WebPBitstreamFeatures features;
  return WebPGetFeatures(f->fragment.bytes, f->fragment.size, &features) ==
             VP8_STATUS_OK &&
         features.format == LOSSLESS;
}

static bool start(WebpReader *r, const uint8_t *bytes, size_t n, ImageError *e) {
  memset(r, 0, sizeof *r);
  r->error = e;
  WebPData data = {bytes, n};
  r->demuxer = WebPDemux(&data);
  if (r->demuxer == NULL || !WebPDemuxGetFrame(r->demuxer, 1, &r->frame))
    return image_fail(e, EBADMSG, "damaged WebP: its parts are not all there");
  ImageHeader *h = &r->header;
  h->width = WebPDemuxGetI(r->demuxer, WEBP_FF_CANVAS_WIDTH);
  h->height = WebPDemuxGetI(r->demuxer, WEBP_FF_CANVAS_HEIGHT);
  h->pages = WebPDemuxGetI(r->demuxer, WEBP_FF_FRAME_COUNT);
  h->channels = r->frame.has_alpha || !covers(&r->frame, h) ? 4 : 3;
  h->max = 255;
  h->lossy = !is_lossless(&r->frame);
  h->orientation = orientation_of(r->demuxer);
  return image_check_sides(h->width, h->height, e);
}

static void finish(WebpReader *r) {
  WebPDemuxReleaseIterator(&r->frame);
  WebPDemuxDelete(r->demuxer);
}

static bool header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                   ImageError *e) {
  (void)raw;
  WebpReader r;
  bool ok = start(&r, bytes, n, e);
  *h = r.header;
  finish(&r);
  return ok;
}

/* One row of the canvas out of the frame's pixels, 4 bytes each. */
static void take_row(const WebpReader *r, const uint8_t *rgba, size_t row,
                     uint16_t *samples) {
  const WebPIterator *f = &r->frame;
  size_t channels = (size_t)r->header.channels, from = (size_t)f->x_offset;
  size_t line = row - (size_t)f->y_offset; /* huge above the frame */
  memset(samples, 0, r->header.width * channels * sizeof *samples);
  if (line >= (size_t)f->height) return;
  for (size_t i = 0; i < (size_t)f->width; i++)
    for (size_t c = 0; c < channels; c++)
      samples[(from + i) * channels + c] = rgba[(line * (size_t)f->width + i) * 4 + c];
}

static bool decode_frame(const WebpReader *r, uint8_t *rgba, size_t bytes) {
  const WebPIterator *f = &r->frame;
  WebPDecoderConfig config;
  VP8StatusCode status = VP8_STATUS_INVALID_PARAM;
  if (WebPInitDecoderConfig(&config)) {
    config.output.colorspace = MODE_RGBA;
    config.output.is_external_memory = 1;
    config.output.u.RGBA = (WebPRGBABuffer){rgba, 4 * f->width, bytes};
    status = WebPDecode(f->fragment.bytes, f->fragment.size, &config);
  }
  if (status == VP8_STATUS_OUT_OF_MEMORY)
    return image_fail(r->error, ENOMEM, "not enough memory");
  return status == VP8_STATUS_OK ||
         image_fail(r->error, EBADMSG, "damaged WebP: its pixels do not decode");
}

static bool read_rows(const WebpReader *r, const ImageSink *sink, uint8_t *rgba,
                      size_t bytes, uint16_t *samples) {
  if (rgba == NULL || samples == NULL)
    return image_fail(r->error, ENOMEM, "not enough memory");
  if (!decode_frame(r, rgba, bytes)) return false;
  for (size_t row = 0; row < r->header.height; row++) {
    take_row(r, rgba, row, samples);
    image_put_row(sink, &r->header, samples, (ImageSpan){row, 0, 1, r->header.width});
  }
  return true;
}

static bool decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  WebpReader r;
  bool ok = start(&r, bytes, n, e) && image_fits(&r.header, sink, e);
  if (ok) {
    size_t size = (size_t)r.frame.width * (size_t)r.frame.height * 4;
    /* NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): a frame has pixels */
    uint8_t *rgba = malloc(size);
    uint16_t *samples = malloc(r.header.width * 4 * sizeof *samples);
    ok = read_rows(&r, sink, rgba, size, samples);
    free(rgba);
    free(samples);
  }
  finish(&r);
  return ok;
}

const ImageCodec image_webp = {"WebP", matches, header, decode, NULL};

#else

const ImageCodec image_webp = {
    .name = "WebP",
    .matches = matches,
    .absent =
        "a WebP picture, which this build cannot read: libwebp was not there when it "
        "was made"};

#endif

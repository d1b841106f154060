/* PAM (P7), netpbm's format with alpha: a line "P7", lines of a key and a value in any
 * order, "ENDHDR", then binary samples of one byte, or of two when MAXVAL is over 255.
 * TUPLTYPE says what the samples are; without it their number does. */
#include <errno.h>
#include <string.h>

#include "image/pnm.h"

enum { TYPE_ROOM = 32, MOST_CHANNELS = 4 };

typedef struct PamHeader {
  unsigned width, height, depth, max;
  char type[TYPE_ROOM];
} PamHeader;

static bool matches(const uint8_t *bytes, size_t n) {
  return n >= 3 && memcmp(bytes, "P7\n", 3) == 0;
}

/* Does the line begin with this word?  Then `at` stands behind it. */
static bool take_word(PnmReader *r, const uint8_t *end, const char *word) {
  size_t n = strlen(word);
  if ((size_t)(end - r->at) < n || memcmp(r->at, word, n) != 0) return false;
  if (r->at + n < end && !pnm_is_space(r->at[n])) return false;
  r->at += n;
  return true;
}

/* The number that the rest of the line is. */
static bool take_number(PnmReader *r, const uint8_t *end, const char *what,
                        unsigned *out) {
  const uint8_t *file_end = r->end;
  r->end = end;
  bool ok = pnm_read_number(r, what, out);
  if (ok) pnm_skip_space(r);
  if (ok && r->at != end)
    ok = image_fail(r->error, EBADMSG, "damaged PAM: its %s is no number", what);
  r->end = file_end;
  return ok;
}

static bool take_type(PnmReader *r, const uint8_t *end, char *type) {
  while (r->at < end && pnm_is_space(*r->at)) r->at++;
  while (end > r->at && pnm_is_space(end[-1])) end--;
  size_t n = (size_t)(end - r->at);
  if (n >= TYPE_ROOM || type[0] != '\0')
    return image_fail(r->error, ENOTSUP, "PAM of an unknown tuple type");
  memcpy(type, r->at, n);
  return true;
}

static bool read_line(PnmReader *r, const uint8_t *end, PamHeader *p) {
  if (r->at == end || *r->at == '#') return true;
  if (take_word(r, end, "WIDTH")) return take_number(r, end, "width", &p->width);
  if (take_word(r, end, "HEIGHT")) return take_number(r, end, "height", &p->height);
  if (take_word(r, end, "DEPTH")) return take_number(r, end, "depth", &p->depth);
  if (take_word(r, end, "MAXVAL")) return take_number(r, end, "maximum", &p->max);
  if (take_word(r, end, "TUPLTYPE")) return take_type(r, end, p->type);
  return image_fail(r->error, EBADMSG, "damaged PAM: a line of its header is unknown");
}

/* All lines up to ENDHDR. */
static bool read_lines(PnmReader *r, PamHeader *p) {
  for (;;) {
    const uint8_t *end = memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (end == NULL)
      return image_fail(r->error, EBADMSG, "damaged PAM: it ends before ENDHDR");
    bool last = take_word(r, end, "ENDHDR");
    if (!last && !read_line(r, end, p)) return false;
    r->at = end + 1;
    if (last) return true;
  }
}

/* Samples a pixel of a tuple type, 0 when it is none of ours. */
static unsigned depth_of(const char *type) {
  static const char *const names[MOST_CHANNELS][2] = {
      {"GRAYSCALE", "BLACKANDWHITE"},
      {"GRAYSCALE_ALPHA", "BLACKANDWHITE_ALPHA"},
      {"RGB", "RGB"},
      {"RGB_ALPHA", "RGB_ALPHA"}};
  for (unsigned i = 0; i < MOST_CHANNELS; i++)
    if (strcmp(type, names[i][0]) == 0 || strcmp(type, names[i][1]) == 0) return i + 1;
  return 0;
}

static bool check_type(const PnmReader *r, const PamHeader *p) {
  bool known = p->depth >= 1 && p->depth <= MOST_CHANNELS &&
               (p->type[0] == '\0' || depth_of(p->type) == p->depth);
  return known ||
         image_fail(r->error, ENOTSUP,
                    "PAM of %u samples a pixel and an unknown tuple type", p->depth);
}

static bool start(PnmReader *r, const uint8_t *bytes, size_t n, ImageError *e) {
  PamHeader p = {0};
  *r = (PnmReader){.at = bytes + 3, .end = bytes + n, .error = e, .name = "PAM"};
  if (!read_lines(r, &p) || !check_type(r, &p)) return false;
  if (p.max == 0) return image_fail(e, EBADMSG, "damaged PAM: its maximum is 0");
  if (!image_check_sides(p.width, p.height, e)) return false;
  r->header = (ImageHeader){.width = p.width, .height = p.height, .max = p.max};
  r->header.channels = (int)p.depth;
  r->header.orientation = 1;
  return pnm_check_left(r, (size_t)p.width * p.height * p.depth * (p.max > 255 ? 2 : 1));
}

static bool header(const uint8_t *bytes, size_t n, bool raw, ImageHeader *h,
                   ImageError *e) {
  (void)raw;
  return pnm_header(start, bytes, n, h, e);
}

static bool decode(const uint8_t *bytes, size_t n, const ImageSink *sink, ImageError *e) {
  return pnm_decode(start, bytes, n, sink, e);
}

const ImageCodec image_pam = {"PAM", matches, header, decode, NULL};

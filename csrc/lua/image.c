/* Binding of the image codecs and geometry: the table `cglow.core.image`.
 * The public face, with the documentation, is lua/cglow/image/init.lua. */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "image/codec.h"
#include "image/geometry.h"
#include "lua/check.h"
#include "lua/class.h"
#include "lua/noreturn.h"
#include "lua/open.h"
#include "lua/tensor.h"

#define BYTES_TYPE "cglow.image.Bytes"

/* --- files in memory --- */

static int fail(lua_State *L, const ImageError *e) {
  luaL_pushfail(L);
  lua_pushstring(L, e->text);
  lua_pushinteger(L, e->code);
  return 3;
}

/* decode(bytes[, channels[, raw[, as_stored]]]) → tensor, pages | nil, message, code */
static int decode(lua_State *L) {
  size_t n, width, height;
  const uint8_t *bytes = (const uint8_t *)luaL_checklstring(L, 1, &n);
  lua_Integer channels = luaL_optinteger(L, 2, 0);
  bool raw = lua_toboolean(L, 3), as_stored = lua_toboolean(L, 4);
  ImageHeader h;
  ImageError e;
  if (!lua_isnoneornil(L, 2) && (channels < 1 || channels > 4))
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "channels must be from 1 to 4, got %I",
                                  (LUAI_UACINT)channels));
  if (image_read_header(bytes, n, raw, &h, &e) == NULL) return fail(L, &e);
  if (channels == 0) channels = h.channels >= 3 ? 3 : 1;
  image_shown_size(&h, as_stored, &width, &height);
  size_t dim[3] = {(size_t)channels, height, width};
  Tensor *t = tensor_new(L, 3, dim);
  ImageSink sink = {t->data, width, height, (int)channels, raw, as_stored};
  if (!image_decode(bytes, n, &sink, &e)) return fail(L, &e);
  lua_pushinteger(L, h.pages);
  return 2;
}

/* describe(bytes) → table | nil, message, code */
static int describe(lua_State *L) {
  size_t n, width, height;
  const uint8_t *bytes = (const uint8_t *)luaL_checklstring(L, 1, &n);
  ImageHeader h;
  ImageError e;
  const ImageCodec *codec = image_read_header(bytes, n, false, &h, &e);
  if (codec == NULL) return fail(L, &e);
  image_shown_size(&h, false, &width, &height);
  const struct {
    const char *name;
    size_t value;
  } numbers[] = {
      {"width", width}, {"height", height}, {"channels", (size_t)h.channels},
      {"max", h.max},   {"pages", h.pages}, {"orientation", (size_t)h.orientation}};
  const struct {
    const char *name;
    bool value;
  } facts[] = {{"palette", h.palette}, {"floating", h.floating}, {"lossy", h.lossy}};
  lua_newtable(L);
  lua_pushstring(L, codec->name);
  lua_setfield(L, -2, "format");
  for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
    lua_pushboolean(L, facts[i].value);
    lua_setfield(L, -2, facts[i].name);
  }
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    lua_pushinteger(L, (lua_Integer)numbers[i].value);
    lua_setfield(L, -2, numbers[i].name);
  }
  return 1;
}

static int free_bytes(lua_State *L) {
  ImageBytes *b = luaL_checkudata(L, 1, BYTES_TYPE);
  free(b->data);
  *b = (ImageBytes){0};
  return 0;
}

/* An empty box that frees its bytes when the C function returns and also when
 * an error unwinds past it. */
static ImageBytes *push_bytes(lua_State *L) {
  ImageBytes *b = lua_newuserdatauv(L, sizeof *b, 0);
  *b = (ImageBytes){0};
  luaL_setmetatable(L, BYTES_TYPE);
  lua_toclose(L, -1);
  return b;
}

static void check_no_nan(lua_State *L, const Tensor *t) {
  for (size_t i = 0; i < t->count; i++)
    if (isnan(t->data[i]))
      luaL_argerror(L, 1,
                    lua_pushfstring(L, "the image holds NaN (number %I of %I)",
                                    (LUAI_UACINT)i + 1, (LUAI_UACINT)t->count));
}

/* The tensor at 1, C×H×W or H×W, as something that can be written. */
static ImageSource check_source(lua_State *L, bool alpha) {
  const Tensor *t = tensor_check(L, 1);
  size_t channels = t->ndim == 3 ? t->dim[0] : 1;
  bool shaped = t->ndim == 2 || t->ndim == 3;
  if (!shaped ||
      !(channels == 1 || channels == 3 || (alpha && channels >= 2 && channels <= 4)))
    luaL_argerror(L, 1,
                  lua_pushfstring(
                      L, "image of %s expected, got %s",
                      alpha ? "HxW, 1xHxW, 2xHxW, 3xHxW or 4xHxW" : "HxW, 1xHxW or 3xHxW",
                      tensor_push_shape(L, t->ndim, t->dim)));
  size_t height = t->dim[t->ndim - 2], width = t->dim[t->ndim - 1];
  ImageError e = {0};
  if (!image_check_sides(width, height, &e)) luaL_argerror(L, 1, e.text);
  return (ImageSource){t->data, width, height, (int)channels, 255, false, NULL, 0};
}

/* Red, green and blue of each colour at arg, which only raw samples of one byte can be
 * indices of. */
static void take_palette(lua_State *L, int arg, ImageSource *s) {
  size_t size;
  const char *palette = luaL_optlstring(L, arg, NULL, &size);
  if (palette == NULL) return;
  if (size == 0 || size % 3 != 0 || size > (size_t)3 * 256)
    luaL_argerror(L, arg, "1 to 256 colours of 3 bytes expected");
  luaL_argcheck(L, s->channels == 1 && s->raw && s->max == 255, 1,
                "a palette is for one channel of raw samples of 8 bits");
  s->palette = (const uint8_t *)palette;
  s->colours = (int)(size / 3);
}

static void check_indices(lua_State *L, const ImageSource *s) {
  for (size_t i = 0; s->palette != NULL && i < s->width * s->height; i++)
    if (s->planes[i] > (real)s->colours - (real)0.5)
      luaL_argerror(L, 1, lua_pushfstring(L, "indices below %d expected, as the palette has them, got %f",
                                          s->colours, (LUAI_UACNUMBER)s->planes[i]));
}

/* encode(image, format, bits, quality, raw, palette) → string | nil, message, code */
static int encode(lua_State *L) {
  static const char *const formats[] = {"png", "jpeg", "ppm", "pgm", "pfm", NULL};
  int format = check_word(L, 2, NULL, formats);
  lua_Integer bits = luaL_optinteger(L, 3, 8);
  lua_Integer quality = luaL_optinteger(L, 4, 95);
  ImageSource s = check_source(L, format == 0);
  if (!(bits == 8 || (bits == 16 && format != 1)))
    luaL_argerror(L, 3,
                  lua_pushfstring(L, "bits must be 8%s, got %I",
                                  format != 1 ? " or 16" : "", (LUAI_UACINT)bits));
  if (quality < 1 || quality > 100)
    luaL_argerror(L, 4,
                  lua_pushfstring(L, "quality must be from 1 to 100, got %I",
                                  (LUAI_UACINT)quality));
  luaL_argcheck(L, format != 2 || s.channels == 3, 1,
                "a ppm holds 3 channels: use pgm or png for a grey image");
  luaL_argcheck(L, format != 3 || s.channels == 1, 1,
                "a pgm holds 1 channel: use ppm or png for a colour image");
  s.max = bits == 16 ? 65535 : 255;
  s.raw = lua_toboolean(L, 5);
  take_palette(L, 6, &s);
  ImageError e;
  ImageBytes *out = push_bytes(L);
  check_no_nan(L, tensor_check(L, 1)); /* now that no finalizer can write to it */
  check_indices(L, &s);
  bool ok = format == 0   ? image_write_png(&s, out, &e)
            : format == 1 ? image_write_jpeg(&s, (int)quality, out, &e)
            : format == 4 ? image_write_pfm(&s, out, &e)
                          : image_write_pnm(&s, out, &e);
  if (!ok) return fail(L, &e);
  lua_pushlstring(L, (const char *)out->data, out->size);
  return 1;
}

/* --- geometry: the last two dimensions are rows and columns --- */

static Tensor *check_planes(lua_State *L, int arg) {
  Tensor *t = tensor_check(L, arg);
  if (t->ndim < 2)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "image of HxW, CxHxW or NxCxHxW expected, got %s",
                                  tensor_push_shape(L, t->ndim, t->dim)));
  return t;
}

static ImageSize size_of(const Tensor *t) {
  return (ImageSize){t->dim[t->ndim - 2], t->dim[t->ndim - 1]};
}

static size_t planes_of(const Tensor *t) {
  ImageSize s = size_of(t);
  return t->count / (s.height * s.width);
}

/* A new tensor like t but for its height and width. */
static Tensor *resized_like(lua_State *L, const Tensor *t, ImageSize size) {
  size_t dim[TENSOR_MAX_DIM];
  for (int i = 0; i < t->ndim; i++) dim[i] = t->dim[i];
  dim[t->ndim - 2] = size.height;
  dim[t->ndim - 1] = size.width;
  return tensor_new(L, t->ndim, dim);
}

static size_t check_count(lua_State *L, int arg, const char *what, lua_Integer least) {
  lua_Integer v = luaL_checkinteger(L, arg);
  if (v < least || v > INT32_MAX)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "%s must be from %I to %d, got %I", what,
                                  (LUAI_UACINT)least, INT32_MAX, (LUAI_UACINT)v));
  return (size_t)v;
}

/* The axis' tables, in a userdata that stays on the stack. */
static ImageAxis push_axis(lua_State *L, size_t in, size_t out, ImageMethod method) {
  ImageAxis axis = {in, out, image_axis_taps(in, out, method), NULL, NULL};
  size_t each, bytes, area;
  if (!checked_mul(axis.taps, sizeof(double), &each) ||
      !checked_add(each, sizeof(size_t), &each) || !checked_mul(each, out, &bytes) ||
      !checked_mul(in, out, &area) || bytes > PTRDIFF_MAX || area > PTRDIFF_MAX)
    luaL_error(L, "image too large to resize");
  axis.weight = lua_newuserdatauv(L, bytes, 0);
  axis.first = (size_t *)(axis.weight + out * axis.taps);
  image_axis_fill(&axis, method);
  return axis;
}

/* By default an axis that shrinks is averaged, one that grows interpolated. */
static ImageMethod method_for(int option, size_t in, size_t out) {
  static const ImageMethod methods[] = {IMAGE_NEAREST, IMAGE_BILINEAR, IMAGE_AREA};
  if (option > 0) return methods[option - 1];
  return out > in ? IMAGE_BILINEAR : IMAGE_AREA;
}

/* resize(image, height, width[, method]) */
static int resize(lua_State *L) {
  static const char *const names[] = {"auto", "nearest", "bilinear", "area", NULL};
  const Tensor *t = check_planes(L, 1);
  ImageSize from = size_of(t), to;
  to.height = check_count(L, 2, "height", 1);
  to.width = check_count(L, 3, "width", 1);
  int option = check_word(L, 4, "auto", names);
  ImageAxis rows =
      push_axis(L, from.height, to.height, method_for(option, from.height, to.height));
  ImageAxis columns =
      push_axis(L, from.width, to.width, method_for(option, from.width, to.width));
  double *line = lua_newuserdatauv(L, from.width * sizeof *line, 0);
  Tensor *out = resized_like(L, t, to);
  image_resize(t->data, planes_of(t), &rows, &columns, line, out->data);
  return 1;
}

/* Does the window [start, start+count) lie inside [1, whole]? */
static void check_window(lua_State *L, int arg, const char *what, size_t start,
                         size_t count, size_t whole) {
  if (count > whole || start - 1 > whole - count)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "%s %I to %I lie outside the image's %I", what,
                                  (LUAI_UACINT)start, (LUAI_UACINT)(start + count - 1),
                                  (LUAI_UACINT)whole));
}

/* crop(image, top, left, height, width) */
static int crop(lua_State *L) {
  const Tensor *t = check_planes(L, 1);
  ImageSize whole = size_of(t), size;
  size_t top = check_count(L, 2, "top", 1);
  size_t left = check_count(L, 3, "left", 1);
  size.height = check_count(L, 4, "height", 1);
  size.width = check_count(L, 5, "width", 1);
  check_window(L, 2, "rows", top, size.height, whole.height);
  check_window(L, 3, "columns", left, size.width, whole.width);
  Tensor *out = resized_like(L, t, size);
  image_crop(t->data, planes_of(t), whole, top - 1, left - 1, size, out->data);
  return 1;
}

/* paste(whole, part, top, left) → whole */
static int paste(lua_State *L) {
  Tensor *whole = check_planes(L, 1);
  const Tensor *part = check_planes(L, 2);
  size_t top = check_count(L, 3, "top", 1);
  size_t left = check_count(L, 4, "left", 1);
  ImageSize room = size_of(whole), size = size_of(part);
  if (planes_of(whole) != planes_of(part))
    luaL_argerror(
        L, 2,
        lua_pushfstring(L, "the same number of channels expected, %I, got %I",
                        (LUAI_UACINT)planes_of(whole), (LUAI_UACINT)planes_of(part)));
  luaL_argcheck(L, !tensor_overlap(whole, part), 2,
                "an image cannot be pasted into itself");
  check_window(L, 3, "rows", top, size.height, room.height);
  check_window(L, 4, "columns", left, size.width, room.width);
  image_paste(part->data, planes_of(part), size, whole->data, room, top - 1, left - 1);
  lua_settop(L, 1);
  return 1;
}

/* flip(image, "horizontal" | "vertical") */
static int flip(lua_State *L) {
  static const char *const directions[] = {"horizontal", "vertical", NULL};
  const Tensor *t = check_planes(L, 1);
  int direction = check_word(L, 2, NULL, directions);
  Tensor *out = tensor_like(L, t);
  (direction == 0 ? image_flip_columns : image_flip_rows)(t->data, planes_of(t),
                                                          size_of(t), out->data);
  return 1;
}

/* pad(image, top, bottom, left, right[, mode[, value]]) */
static int pad(lua_State *L) {
  static const char *const modes[] = {"constant", "edge", "reflect", NULL};
  static const ImageBorder borders[] = {IMAGE_CONSTANT, IMAGE_EDGE, IMAGE_REFLECT};
  const Tensor *t = check_planes(L, 1);
  ImageSize size = size_of(t), whole;
  size_t top = check_count(L, 2, "top", 0);
  size_t bottom = check_count(L, 3, "bottom", 0);
  size_t left = check_count(L, 4, "left", 0);
  size_t right = check_count(L, 5, "right", 0);
  ImageBorder border = borders[check_word(L, 6, "constant", modes)];
  real value = (real)luaL_optnumber(L, 7, 0);
  whole.height = size.height + top + bottom;
  whole.width = size.width + left + right;
  Tensor *out = resized_like(L, t, whole);
  image_pad(t->data, planes_of(t), size, top, left, whole, border, value, out->data);
  return 1;
}

/* A C×H×W image at 1 of one or three channels. */
static const Tensor *check_colour(lua_State *L) {
  const Tensor *t = tensor_check(L, 1);
  if (t->ndim != 3 || (t->dim[0] != 1 && t->dim[0] != 3))
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "image of 1xHxW or 3xHxW expected, got %s",
                                  tensor_push_shape(L, t->ndim, t->dim)));
  return t;
}

static Tensor *new_colour(lua_State *L, const Tensor *t, size_t channels) {
  size_t dim[3] = {channels, t->dim[1], t->dim[2]};
  return tensor_new(L, 3, dim);
}

/* grey(image) → 1×H×W */
static int grey(lua_State *L) {
  const Tensor *t = check_colour(L);
  Tensor *out = new_colour(L, t, 1);
  if (t->dim[0] == 3)
    image_grey(t->data, out->count, out->data);
  else
    for (size_t i = 0; i < out->count; i++) out->data[i] = t->data[i];
  return 1;
}

/* rgb(image) → 3×H×W */
static int rgb(lua_State *L) {
  const Tensor *t = check_colour(L);
  Tensor *out = new_colour(L, t, 3);
  for (size_t i = 0; i < out->count; i++) out->data[i] = t->data[i % t->count];
  return 1;
}

/* Formats that this build reads. */
static const char *const formats_read[] = {"PNG",  "JPEG",
#ifdef HAVE_TIFF
                                           "TIFF",
#endif
#ifdef HAVE_WEBP
                                           "WebP",
#endif
                                           "PNM",  "PAM",  "PFM", NULL};

static const luaL_Reg functions[] = {
    {"decode", decode}, {"encode", encode},     {"resize", resize}, {"crop", crop},
    {"paste", paste},   {"flip", flip},         {"pad", pad},       {"grey", grey},
    {"rgb", rgb},       {"describe", describe}, {NULL, NULL}};

static const luaL_Reg bytes_methods[] = {
    {"__gc", free_bytes}, {"__close", free_bytes}, {NULL, NULL}};

void open_image(lua_State *L) {
  class_new(L, BYTES_TYPE, bytes_methods);
  luaL_newlib(L, functions);
  lua_newtable(L);
  for (lua_Integer i = 0; formats_read[i] != NULL; i++) {
    lua_pushstring(L, formats_read[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "formats");
  lua_setfield(L, -2, "image");
}

/* Binding of super-pixels, hole filling and depth fusion: the table
 * `cglow.core.vision`.  The public face, with the documentation, is
 * lua/cglow/image/vision.lua. */
#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/threads.h"
#include "image/augment.h"
#include "image/consensus.h"
#include "image/depth_fusion.h"
#include "image/inpaint.h"
#include "image/slic.h"
#include "image/ssim.h"
#include "lua/check.h"
#include "lua/open.h"
#include "lua/tensor.h"

/* A C×H×W or H×W tensor. */
typedef struct Planes {
  Tensor *tensor;
  size_t channels, height, width;
} Planes;

static Planes check_planes(lua_State *L, int arg) {
  Tensor *t = tensor_check(L, arg);
  if (t->ndim != 2 && t->ndim != 3)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "CxHxW or HxW expected, got %s",
                                  tensor_push_shape(L, t->ndim, t->dim)));
  return (Planes){t, t->ndim == 3 ? t->dim[0] : 1, t->dim[t->ndim - 2],
                  t->dim[t->ndim - 1]};
}

static Tensor *check_map(lua_State *L, int arg, size_t height, size_t width) {
  return tensor_check_shape(L, arg, 2, (size_t[]){height, width});
}

static size_t check_count(lua_State *L, int arg, const char *what, lua_Integer low) {
  lua_Integer n = luaL_checkinteger(L, arg);
  if (n < low || n > 1 << 20)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "%s must be an integer from %I to 2^20, got %I",
                                  what, (LUAI_UACINT)low, (LUAI_UACINT)n));
  return (size_t)n;
}

static double check_above_zero(lua_State *L, int arg, const char *what) {
  double v = luaL_checknumber(L, arg);
  if (!(v > 0 && v <= 1e6))
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "%s must be above 0 and at most 1e6, got %f", what, v));
  return v;
}

/* slic(image, segments, compactness, iterations) → labels H×W, count */
static int vision_slic(lua_State *L) {
  Planes image = check_planes(L, 1);
  if (image.channels > 3)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "at most 3 channels expected, got %I",
                                  (LUAI_UACINT)image.channels));
  SlicOptions options = {check_count(L, 2, "segments", 1),
                         check_above_zero(L, 3, "compactness"),
                         check_count(L, 4, "iterations", 1)};
  size_t pixels = image.height * image.width, bytes;
  if (options.segments > pixels) options.segments = pixels;
  if (!slic_scratch(image.height, image.width, &bytes))
    return luaL_argerror(L, 1, "the image is too large");
  void *scratch = lua_newuserdatauv(L, bytes, 0);
  Tensor *labels = tensor_new(L, 2, (size_t[]){image.height, image.width});
  size_t count = slic(image.tensor->data, image.channels, image.height, image.width,
                      &options, scratch, labels->data);
  lua_pushinteger(L, (lua_Integer)count);
  return 2;
}

static Tensor *check_valid(lua_State *L, int arg, Planes image) {
  Tensor *valid = check_map(L, arg, image.height, image.width);
  luaL_argcheck(L, !tensor_overlap(valid, image.tensor), arg,
                "the map of valid pixels must not share memory with the image");
  return valid;
}

/* At least one valid pixel; an image without any cannot be filled.  Looked at after
 * the last allocation, whose finalizers may change the map. */
static void check_any_valid(lua_State *L, int arg, const Tensor *valid) {
  for (size_t i = 0; i < valid->count; i++)
    if (valid->data[i] != 0) return;
  luaL_argerror(L, arg, "no pixel is valid: nothing to fill from");
}

/* fill_median(image, valid, radius) → image */
static int vision_fill_median(lua_State *L) {
  Planes image = check_planes(L, 1);
  Tensor *valid = check_valid(L, 2, image);
  size_t radius = check_count(L, 3, "radius", 1);
  if (radius > 32)
    luaL_argerror(
        L, 3,
        lua_pushfstring(L, "radius of at most 32 expected, got %I", (LUAI_UACINT)radius));
  size_t window = (2 * radius + 1) * (2 * radius + 1);
  real *scratch = tensor_workspace(L, 2 * valid->count + window);
  check_any_valid(L, 2, valid);
  fill_median(image.tensor->data, valid->data, image.channels, image.height, image.width,
              radius, scratch);
  lua_settop(L, 1);
  return 1;
}

/* fill_diffusion(image, valid, tolerance, sweeps) → image, sweeps made */
static int vision_fill_diffusion(lua_State *L) {
  Planes image = check_planes(L, 1);
  Tensor *valid = check_valid(L, 2, image);
  double tolerance = check_above_zero(L, 3, "tolerance");
  size_t most = check_count(L, 4, "sweeps", 1);
  real *scratch = tensor_workspace(L, 2 * valid->count);
  check_any_valid(L, 2, valid);
  size_t made = fill_diffusion(image.tensor->data, valid->data, image.channels,
                               image.height, image.width, tolerance, most, scratch);
  lua_settop(L, 1);
  lua_pushinteger(L, (lua_Integer)made);
  return 2;
}

static void check_numbers(lua_State *L, int arg, size_t count, double *out) {
  luaL_checktype(L, arg, LUA_TTABLE);
  for (size_t i = 0; i < count; i++) {
    int is_number;
    lua_rawgeti(L, arg, (lua_Integer)i + 1);
    out[i] = lua_tonumberx(L, -1, &is_number);
    if (!is_number || !isfinite(out[i]))
      luaL_argerror(L, arg,
                    lua_pushfstring(L, "%d finite numbers expected, got %s as [%d]",
                                    (int)count, luaL_tolstring(L, -1, NULL), (int)i + 1));
    lua_pop(L, 1);
  }
}

/* reproject(depth, {fx, fy, cx, cy}, motion, jump, out) → out */
static int vision_reproject(lua_State *L) {
  Tensor *depth = tensor_check_shape(L, 1, 2, (size_t[]){0, 0});
  double intrinsics[4], motion[12];
  check_numbers(L, 2, 4, intrinsics);
  luaL_argcheck(L, intrinsics[0] > 0 && intrinsics[1] > 0, 2,
                "focal lengths above 0 expected");
  check_numbers(L, 3, 12, motion);
  double jump = check_above_zero(L, 4, "jump");
  Tensor *out = check_map(L, 5, depth->dim[0], depth->dim[1]);
  luaL_argcheck(L, !tensor_overlap(depth, out), 5,
                "out must not share memory with depth");
  Camera camera = {intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]};
  depth_reproject(depth->data, depth->dim[0], depth->dim[1], &camera, motion, jump,
                  out->data);
  lua_settop(L, 5);
  return 1;
}

/* fuse(stack V×H×W, own H×W, tolerance, support) → clean H×W, count H×W */
static int vision_fuse(lua_State *L) {
  Tensor *stack = tensor_check_shape(L, 1, 3, (size_t[]){0, 0, 0});
  Tensor *own = check_map(L, 2, stack->dim[1], stack->dim[2]);
  FusionOptions options = {check_above_zero(L, 3, "tolerance"),
                           check_count(L, 4, "support", 1)};
  Tensor *clean = tensor_like(L, own), *count = tensor_like(L, own);
  int threads = parallel_threads();
  real *scratch = tensor_workspace(L, (size_t)threads * (stack->dim[0] + 1));
  depth_fuse(stack->data, own->data, stack->dim[0], own->dim[0], own->dim[1], &options,
             scratch, clean->data, count->data, threads);
  return 2;
}

static void copy_row(const real *from, real *to, size_t n, bool mirror) {
  if (!mirror) {
    memcpy(to, from, n * sizeof *to);
    return;
  }
  for (size_t i = 0; i < n; i++) to[i] = from[n - 1 - i];
}

static void check_inside(lua_State *L, int arg, size_t start, size_t count,
                         size_t whole) {
  size_t first = start + 1, last = start + count;
  if (count > whole || start > whole - count)
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "window within 1 to %I expected, got %I to %I",
                        (LUAI_UACINT)whole, (LUAI_UACINT)first, (LUAI_UACINT)last));
}

/* window(image, top, left, out[, mirror]) → out: the rows and columns from
 * (top, left) on that out has room for, left and right exchanged on request. */
static int vision_window(lua_State *L) {
  Planes image = check_planes(L, 1), out = check_planes(L, 4);
  size_t top = check_count(L, 2, "top", 1) - 1, left = check_count(L, 3, "left", 1) - 1;
  bool mirror = lua_toboolean(L, 5);
  if (out.channels != image.channels)
    luaL_argerror(
        L, 4,
        lua_pushfstring(L, "%I channels expected, got %I", (LUAI_UACINT)image.channels,
                        (LUAI_UACINT)out.channels));
  check_inside(L, 2, top, out.height, image.height);
  check_inside(L, 3, left, out.width, image.width);
  luaL_argcheck(L, !tensor_overlap(image.tensor, out.tensor), 4,
                "out must not share memory with the image");
  for (size_t c = 0; c < image.channels; c++)
    for (size_t y = 0; y < out.height; y++)
      copy_row(image.tensor->data + (c * image.height + top + y) * image.width + left,
               out.tensor->data + (c * out.height + y) * out.width, out.width, mirror);
  lua_settop(L, 4);
  return 1;
}

#define VALUES ((size_t)1 << 24) /* whole numbers that float32 tells apart */

/* values(tensor, most) → the whole numbers from 0 on that occur in it, in
 * ascending order; nil when there are more than `most` of them. */
static int vision_values(lua_State *L) {
  const Tensor *t = tensor_check(L, 1);
  size_t most = check_count(L, 2, "most", 1), found = 0;
  uint8_t *seen = lua_newuserdatauv(L, VALUES / 8, 0);
  memset(seen, 0, VALUES / 8);
  /* After the allocation, whose finalizers may change the tensor. */
  for (size_t i = 0; i < t->count; i++) {
    real v = t->data[i];
    if (!(v >= 0 && v < (real)VALUES) || v != (real)(size_t)v)
      luaL_argerror(L, 1,
                    lua_pushfstring(L, "whole numbers from 0 to %d expected, got %f",
                                    (int)VALUES - 1, (LUAI_UACNUMBER)v));
  }
  for (size_t i = 0; i < t->count && found <= most; i++) {
    size_t v = (size_t)t->data[i];
    uint8_t bit = (uint8_t)(1u << v % 8);
    found += !(seen[v / 8] & bit);
    seen[v / 8] |= bit;
  }
  if (found > most) {
    luaL_pushfail(L);
    return 1;
  }
  lua_createtable(L, (int)found, 0);
  for (size_t v = 0, n = 0; n < found; v++)
    if (seen[v / 8] & 1u << v % 8) {
      lua_pushinteger(L, (lua_Integer)v);
      lua_rawseti(L, -2, (lua_Integer)++n);
    }
  return 1;
}

/* A tensor of one number for each plane, or NULL when there is none. */
static const real *check_per_plane(lua_State *L, int arg, size_t planes) {
  if (lua_isnoneornil(L, arg)) return NULL;
  return tensor_check_shape(L, arg, 1, &planes)->data;
}

/* augment(image, out, kind, {6 numbers}[, gain, offset]) → out: see image/augment.h. */
static int vision_augment(lua_State *L) {
  static const char *const kinds[] = {"image", "nearest", "mask", "labels", NULL};
  Planes image = check_planes(L, 1);
  Tensor *out = tensor_check_shape(L, 2, image.tensor->ndim, image.tensor->dim);
  luaL_argcheck(L, !tensor_overlap(image.tensor, out), 2,
                "out must not share memory with the image");
  int kind = check_word(L, 3, NULL, kinds);
  double map[6];
  check_numbers(L, 4, 6, map);
  const real *gain = check_per_plane(L, 5, image.channels);
  const real *offset = check_per_plane(L, 6, image.channels);
  luaL_argcheck(L, (gain == NULL) == (offset == NULL), 6,
                "an offset expected where there is a gain, and only there");
  augment(image.tensor->data, image.channels, (ImageSize){image.height, image.width},
          &(AugmentMap){{map[0], map[1], map[2]}, {map[3], map[4], map[5]}},
          (AugmentKind)kind, gain, offset, out->data);
  lua_settop(L, 2);
  return 1;
}

/* ssim(a, b, peak) → the mean over the planes of two pictures: see image/ssim.h. */
static int vision_ssim(lua_State *L) {
  const Tensor *a = tensor_check(L, 1), *b = tensor_check(L, 2);
  double peak = luaL_checknumber(L, 3), sum = 0;
  if (!(peak > 0 && isfinite(peak)))
    luaL_argerror(
        L, 3,
        lua_pushfstring(L, "a peak above 0 expected, got %f", (LUAI_UACNUMBER)peak));
  if (!tensor_same_shape(a, b))
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "a tensor of shape %s expected, got %s",
                                  tensor_push_shape(L, a->ndim, a->dim),
                                  tensor_push_shape(L, b->ndim, b->dim)));
  if (a->ndim < 2 || a->ndim > 3 || a->dim[a->ndim - 2] < SSIM_WINDOW ||
      a->dim[a->ndim - 1] < SSIM_WINDOW)
    luaL_argerror(
        L, 1,
        lua_pushfstring(L, "a picture of at least %dx%d pixels expected, got %s",
                        SSIM_WINDOW, SSIM_WINDOW, tensor_push_shape(L, a->ndim, a->dim)));
  size_t height = a->dim[a->ndim - 2], width = a->dim[a->ndim - 1];
  size_t planes = a->count / (height * width);
  double *work = lua_newuserdatauv(L, SSIM_WORK(width) * sizeof *work, 0);
  for (size_t c = 0; c < planes; c++)
    sum += ssim(a->data + c * height * width, b->data + c * height * width, height, width,
                peak, work);
  lua_pushnumber(L, sum / (double)planes);
  return 1;
}

/* consensus(masks M×H×W) → votes H×W, least: see image/consensus.h. */
static int vision_consensus(lua_State *L) {
  Tensor *masks = tensor_check_shape(L, 1, 3, (size_t[]){0, 0, 0});
  size_t count = masks->dim[0];
  if (count > 4096)
    luaL_argerror(
        L, 1,
        lua_pushfstring(L, "at most 4096 masks expected, got %I", (LUAI_UACINT)count));
  size_t *tally = lua_newuserdatauv(L, (count + 1) * (count + 2) * sizeof *tally, 0);
  Tensor *votes = tensor_new(L, 2, masks->dim + 1);
  size_t least = consensus(masks->data, count, votes->count, tally, votes->data);
  lua_pushinteger(L, (lua_Integer)least);
  return 2;
}

static const luaL_Reg functions[] = {{"augment", vision_augment},
                                     {"consensus", vision_consensus},
                                     {"ssim", vision_ssim},
                                     {"slic", vision_slic},
                                     {"fill_median", vision_fill_median},
                                     {"fill_diffusion", vision_fill_diffusion},
                                     {"reproject", vision_reproject},
                                     {"fuse", vision_fuse},
                                     {"window", vision_window},
                                     {"values", vision_values},
                                     {NULL, NULL}};

void open_vision(lua_State *L) {
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "vision");
}

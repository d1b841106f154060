rockspec_format = "3.0"
package = "cglow"
version = "0.1.0-1"
-- `make rock` packs the archive of this version and this file into a source rock.
source = {
  url = "cglow-0.1.0.tar.gz",
  dir = "cglow-0.1.0",
}
description = {
  summary = "Conditional Glow: exact conditional densities p(y|x) of images, samples and predictions",
  detailed = [[
Learns the distribution of a structured output given an image by exact
likelihood (Lu & Huang, "Structured Output Learning with Conditional Generative
Flows", AAAI 2020): segmentation, denoising, depth refinement, inpainting, or a
task of your own.  Tensors, flow layers, networks and optimizers are C with
OpenMP and OpenBLAS; models, data, training and metrics are Lua.]],
  license = "MIT",
  labels = { "machine-learning", "image", "statistics" },
}
supported_platforms = { "unix" }
dependencies = {
  "lua >= 5.4, < 5.5",
  "argparse >= 0.7",
  "dkjson >= 2.5",
  "luafilesystem >= 1.8",
}
-- OpenBLAS: Debian has its headers where compilers look, Fedora in a folder of
-- their own, so only the library is looked for.  The Makefile asks pkg-config for
-- the rest, first in these prefixes; Homebrew's wants OPENBLAS_DIR=$(brew
-- --prefix openblas) after the command.  libtiff (4.5 or later) and libwebp are optional:
-- the Makefile builds readers of TIFF and WebP where pkg-config finds them.
external_dependencies = {
  OPENBLAS = { library = "openblas" },
  PNG = { header = "png.h", library = "png" },
  JPEG = { header = "jpeglib.h", library = "jpeg" },
}
build = {
  type = "make",
  build_target = "all",
  install_target = "install-modules",
  build_variables = {
    LUA = "$(LUA)",
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
    ROCK_CFLAGS = "$(CFLAGS)",
    PKG_CONFIG_DIRS = "$(OPENBLAS_DIR)/lib/pkgconfig:$(PNG_DIR)/lib/pkgconfig:$(JPEG_DIR)/lib/pkgconfig",
  },
  install_variables = {
    LUA = "$(LUA)",
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
    ROCK_CFLAGS = "$(CFLAGS)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    DOCDIR = "$(PREFIX)/doc",
  },
  install = {
    bin = { cglow = "lua/cglow/cli/program.lua" },
  },
  copy_directories = { "data", "examples" },
}
test = {
  type = "command",
  command = "make --no-print-directory all && ${LUA:-lua5.4} spec/tools/busted.lua",
}

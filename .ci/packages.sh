#!/bin/sh
# Sees to it that the programs and libraries of a job are there.
#
#   sh .ci/packages.sh build|demo|test|check|coverage|sanitize|stress|fuzz|docs
#
# Each thing is looked for by use (can the compiler, the module be found?), so
# it does not matter who installed it.  On Debian and its relatives the missing
# packages are installed with apt-get, as root or through sudo; elsewhere their
# names are printed and the exit status is 1.
set -eu

program() { command -v "$1" >/dev/null 2>&1; }
library() { program pkg-config && pkg-config --exists "$1"; }
is_lua54() { program "$1" && "$1" -e 'os.exit(_VERSION == "Lua 5.4")' 2>/dev/null; }
some_lua54() { for lua in "${LUA:-lua5.4}" lua5.4 lua; do is_lua54 "$lua" && return 0; done; return 1; }
lua_headers() { library lua5.4 || library lua-5.4 || library 'lua >= 5.4'; }
module() { some_lua54 && "$lua" -e "os.exit((pcall(require, '$1')))" 2>/dev/null; }
c_headers() { program cc && echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1; }

debian= fedora= brew= rocks=

# want PROBE ARGUMENT DEBIAN FEDORA HOMEBREW: note the packages when the probe fails.
want() {
  "$1" "$2" && return 0
  debian="$debian $3" fedora="$fedora $4" brew="$brew $5"
}

# The same for a Lua module that LuaRocks has where a system has no package.
want_rock() {
  "$1" "$2" && return 0
  debian="$debian $3" rocks="$rocks $4"
}

want_build() {
  want c_headers - 'gcc libc6-dev' gcc 'gcc libomp'
  want program pkg-config pkg-config pkgconf-pkg-config pkg-config
  want some_lua54 - lua5.4 lua lua
  want lua_headers - liblua5.4-dev lua-devel lua
  want library openblas libopenblas-dev openblas-devel openblas
  want library libpng libpng-dev libpng-devel libpng
  want library libjpeg libjpeg-dev libjpeg-turbo-devel jpeg-turbo # Debian's and Ubuntu's name for their own
}

want_run() {
  want_build
  want_rock module argparse lua-argparse argparse
  want_rock module dkjson lua-dkjson dkjson
  want_rock module lfs lua-filesystem luafilesystem
}

want_test() {
  want_run
  want_rock module busted.runner lua-busted busted
  want_rock program luacheck lua-check luacheck
  want_rock program ldoc lua-ldoc ldoc
  want_rock module socket lua-socket luasocket
  want program luarocks luarocks luarocks luarocks
  want program unzip unzip unzip unzip
  want program zip zip zip zip
  # Open MPI, because the specs name its options; another one that is there is not replaced.
  want program mpicc libopenmpi-dev openmpi-devel open-mpi
  want program mpirun openmpi-bin openmpi open-mpi
}

case ${1:-} in
  build) want_build ;;
  demo) want_run ;;
  test) want_test ;;
  check)
    want_test
    want program clang-tidy clang-tidy clang-tools-extra llvm
    want program cppcheck cppcheck cppcheck cppcheck ;;
  coverage)
    want_test
    want program gcovr gcovr gcovr gcovr ;;
  sanitize) want_test ;;
  stress)
    want_test
    want program valgrind valgrind valgrind valgrind ;;
  fuzz)
    want_build
    want program afl-clang-fast afl++ american-fuzzy-lop afl++ ;;
  docs) want_rock program ldoc lua-ldoc ldoc ;;
  *) echo "usage: sh .ci/packages.sh build|demo|test|check|coverage|sanitize|stress|fuzz|docs" >&2
     exit 2 ;;
esac

[ -n "$debian" ] || exit 0

if program apt-get && [ -f /etc/debian_version ]; then
  sudo=
  if [ "$(id -u)" -ne 0 ]; then
    program sudo || { echo "As root, install first: apt-get install$debian" >&2; exit 1; }
    sudo=sudo
  fi
  echo "Installing$debian"
  $sudo apt-get update -q
  # shellcheck disable=SC2086  # a list of words
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $debian
  # Once more, to say so if something is missing still.
  CGLOW_PACKAGES_AGAIN=${CGLOW_PACKAGES_AGAIN:-0}
  [ "$CGLOW_PACKAGES_AGAIN" = 0 ] || { echo "Still not found after installing:$debian" >&2; exit 1; }
  CGLOW_PACKAGES_AGAIN=1 exec sh "$0" "$@"
fi

{
  echo "These are missing; install them and run make again:"
  [ -z "$fedora" ] || echo "  Fedora:    sudo dnf install$fedora"
  [ -z "$brew" ] || echo "  Homebrew:  brew install$brew"
  [ -z "$rocks" ] || echo "  LuaRocks:  luarocks --lua-version=5.4 install --local NAME, for each of:$rocks"
  echo "  (Debian:   apt-get install$debian)"
} >&2
exit 1

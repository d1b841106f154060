-- Busted as a plain Lua program: one process, so that sanitizers, valgrind and
-- time limits reach the interpreter that runs the specs.
require "busted.runner" { standalone = false }

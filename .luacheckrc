std = "lua54"
max_line_length = 120
color = false
files["spec"] = { std = "+busted" }
files["*.rockspec"] = { std = "+rockspec" }
files["examples/cglow.lua"] = { globals = { "arg" } } -- it hands arg on to the script that it runs

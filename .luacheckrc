std = "lua54"
max_line_length = 120
color = false
files["spec"] = { std = "+busted" }
files["*.rockspec"] = { std = "+rockspec" }

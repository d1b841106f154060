-- Functions of the core that make things, and what cglow takes from it.
local core = require "cglow.core"
local K = require "spec.support.arguments"

local size = K.int(2, 1, (1 << 62) - 1)
local shape = { { label = "nothing", args = {} }, { label = "{}", args = { {} } }, { label = "5 sizes",
  args = { 1, 1, 1, 1, 1 } }, { label = "2^62 x 4", args = { 1 << 62, 4 } }, { label = "2^31 x 2^31 x 2^31",
  args = { 1 << 31, 1 << 31, 1 << 31 } }, { label = "2^50", args = { 1 << 50 } }, { label = "{2, 'x'}",
  args = { { 2, "x" } } }, { label = "{0}", args = { { 0 } } }, { label = "a list and more", args = { { 2 }, 2 } } }
local function with_value(cases)
  local list = {}
  for i, c in ipairs(cases) do
    list[i] = { label = c.label, args = table.move(c.args, 1, #c.args, 1, {}) }
    table.insert(list[i].args, 0.5)
  end
  return list
end
local function list_of(...)
  local shapes = { ... }
  return function()
    local list = {}
    for i, s in ipairs(shapes) do list[i] = core.zeros(s) end
    return list
  end
end
local factors = K.list({ 1, 1 }, { { "a string", function() return { "1" } end },
  { "NaN", function() return { 0 / 0 } end }, { "-1", function() return { -1 } end } })
local freak = { "freak length", function() -- a border of the table far beyond its elements
  local t = {}
  for i = 0, 62 do t[1 << i] = 1 end
  return t
end }
local hundred = K.optional(K.int(1, 1, 1024))

local bound = K.optional(K.num(1, { -1, 81 })) -- of log-scales

return {
  { "core.tensor", K.list({ 1, 2 }, { freak, { "a ragged table", function() return { { 1, 2 }, { 1 } } end },
    { "a hole", function() return { 1, nil, 3 } end }, { "a string inside", function() return { 1, "2" } end },
    { "5 levels", function() return { { { { { 1 } } } } } end },
    { "a tensor inside", function() return { core.zeros(1) } end } }),
    wrong = { { label = "a second argument", args = { { 1 }, 2 }, says = "reshape" } } },
  { "core.zeros", size, size, wrong = shape },
  { "core.ones", size, size, wrong = shape },
  { "core.empty", size, size, wrong = shape },
  { "core.full", size, K.num(0.5, nil, true), wrong = with_value(shape) },
  { "core.rand", size, K.also(size, "cglow.Rng"), wrong = shape },
  { "core.randn", size, K.also(size, "cglow.Rng"), wrong = shape },
  { "core.arange", K.num(1, nil, true), K.num(4, { 0 / 0, 0, math.huge }, true), K.optional(K.num(1, { 0, -1 })) },
  { "core.from_bytes", K.str("\0\0\0\0\0\0\0\0", { "", "abc" }, true), K.optional(K.word "F32"),
    K.optional(K.int(2, 1)),
    wrong = { { label = "a shape of three", args = { "\0\0\0\0", "U8", 3 } },
      { label = "2^63 x 2", args = { "\0", "U8", 1 << 62, 4 } } } },
  { "core.cat", K.list(list_of({ 2, 3 }, { 1, 3 }), { freak, { "ranks differ", list_of({ 2, 3 }, { 3 }) },
    { "sides differ", list_of({ 2, 3 }, { 2, 4 }) }, { "{1}", function() return { 1 } end } }),
    K.optional(K.int(1, 1, 2)) },
  { "core.stack", K.list(list_of({ 2, 3 }, { 2, 3 }), { freak, { "shapes differ", list_of({ 2, 3 }, { 1, 3 }) },
    { "4 dimensions", list_of({ 1, 1, 1, 1 }) }, { "{1}", function() return { 1 } end } }) },
  { "core.stats" },
  { "core.readers", K.int(1, 1, 64), K.int(1, 1, 65536), K.str("return function() end"), K.optional(K.str("")) },
  { "core.type", K.any(1), wrong = { { label = "nothing", args = {}, says = "value expected" } } },
  { "core.Rng", K.int(1) },
  { "core.seed", K.int(1) },
  { "core.rng" },
  { "core.philox", K.int(1, 0, (1 << 32) - 1), K.int(1, 0, (1 << 32) - 1), K.int(1, 0, (1 << 32) - 1),
    K.int(1, 0, (1 << 32) - 1), K.int(1, 0, (1 << 32) - 1), K.int(1, 0, (1 << 32) - 1) },
  { "core.threads", hundred }, { "core.threads_warning" },
  { "core.precision", K.optional(K.word "fp32") },
  { "core.precision_during", K.optional(K.word "fp32") },
  { "core.peak_flops", K.optional(K.num(0.001, { 0, -1, 61 })) },
  { "core.Param", K.tensor { 2, 3 }, K.optional(K.str "weight") },
  { "core.zero_grad", K.list(function() return { core.Param(core.zeros(2)) } end,
    { { "{1}", function() return { 1 } end }, { "a tensor", function() return { core.zeros(2) } end }, freak }) },

  { "core.fingerprint", K.list(function() return { core.Param(core.zeros(2)) } end,
    { { "{1}", function() return { 1 } end }, { "a tensor", function() return { core.zeros(2) } end }, freak }) },

  { "core.net.conv2d", K.int(2, 1, (1 << 31) - 1), K.int(2, 1, (1 << 31) - 1), K.int(3, 1, (1 << 31) - 1),
    K.int(3, 1, (1 << 31) - 1), K.int(1, 1, (1 << 31) - 1), K.int(1, 1, (1 << 31) - 1),
    K.int(0, 0, (1 << 31) - 1), K.int(0, 0, (1 << 31) - 1), K.any(true),
    wrong = { { args = { 1 << 30, 1, 3, 3, 1, 1, 0, 0 }, label = "in x kernel past 2^31" },
      { args = { 1, 1, (1 << 31) - 1, (1 << 31) - 1, 1, 1, 0, 0 }, label = "a kernel past 2^62" },
      { args = { (1 << 31) - 1, (1 << 31) - 1, 1, 1, 1, 1, 0, 0 }, label = "a weight past 2^64 bytes" } } },
  { "core.net.linear", K.int(2, 1, (1 << 31) - 1), K.int(2, 1, (1 << 31) - 1),
    wrong = { { args = { (1 << 31) - 1, (1 << 31) - 1 }, label = "a weight past 2^64 bytes" } } },
  { "core.net.norm", K.int(2, 1, (1 << 31) - 1), K.num(1) },
  { "core.net.upsample", K.int(2, 1, (1 << 31) - 1) },
  { "core.net.relu" }, { "core.net.tanh" }, { "core.net.sigmoid" },
  { "core.net.sequential", K.list(function() return { core.net.relu(), core.net.tanh() } end,
    { { "empty", function() return {} end }, { "{1}", function() return { 1 } end }, freak }),
    K.list({ "a", "b" }, { { "a hole", function() return { "a" } end }, { "a table", function() return { "a",
      {} } end } }) },
  { "core.net.group", K.list(function() return { core.net.relu(), core.net.tanh() } end,
    { { "{1}", function() return { 1 } end }, { "a tensor", function() return { core.zeros(1) } end }, freak }) },

  { "core.net.unet", K.int(2, 1, 4096), K.list({ 2, 3 }, { { "{}", function() return {} end },
    { "a string", function() return { "2" } end }, { "0", function() return { 0 } end },
    { "4097", function() return { 4097 } end }, { "17 scales", function()
      local list = {}
      for i = 1, 17 do list[i] = 1 end
      return list
    end } }), K.int(1, 1, 2) },
  { "core.loss.cross_entropy", K.tensor({ 2, 3, 4, 4 }, { { 3 }, { 2, 3 } }),
    K.tensor({ 2, 4, 4 }, { { 2, 4 }, { 3, 4, 4 } }),
    K.optional(K.tensor({ 2, 4, 4 }, { { 2, 4 }, { 3, 4, 4 } })), K.num(1, nil, true),
    K.tensor({ 2, 3, 4, 4 }, { { 3 }, { 2, 3, 4, 2 } }) },
  { "core.loss.squared_error", K.tensor({ 2, 3, 4, 4 }, { { 3 }, { 2, 3 } }),
    K.tensor({ 2, 3, 4, 4 }, { { 3 }, { 2, 3, 4, 2 } }), K.optional(K.tensor({ 2, 4, 4 }, { { 2, 4 }, { 3, 4, 4 } })),
    K.num(1, nil, true), K.tensor({ 2, 3, 4, 4 }, { { 3 }, { 2, 3, 4, 2 } }) },
  { "core.flow.squeeze" },
  { "core.flow.actnorm", K.int(4, 1, (1 << 31) // 16 - 1), K.any(true) },
  { "core.flow.invconv", K.int(4, 1, 4096), K.any(true) },
  { "core.flow.coupling", K.int(4, 2, (1 << 31) // 16 - 1), K.int(2, 0, (1 << 31) // 16 - 1),
    K.int(4, 1, (1 << 31) // 16 - 1), bound, K.any(false),
    K.object(false, "boolean nil cglow.Rng", { { "true", function() return true end } }),
    wrong = { { args = { 100000000, 100000000, 100000000 }, label = "weights past all memory" },
      { args = { 4, 2, 4, 1, true }, label = "a condition beside features", says = "0 expected with features" } } },
  { "core.flow.split", K.int(4, 2, (1 << 31) // 16 - 1), bound },
  { "core.flow.features", K.int(4, 1, (1 << 31) // 16 - 1), K.str "a.weight", K.int(3, 1, (1 << 31) // 16 - 1),
    K.optional(K.str "b.weight"), K.int(2, 1, (1 << 31) // 16 - 1) },
  { "core.flow.injector", K.int(4, 1, (1 << 31) // 16 - 1 >> 1), K.num(1, { 0, -1, 81 }) },
  { "core.flow.prior", K.int(4, 1, (1 << 31) // 16 - 1), K.int(2, 1, (1 << 31) // 16 - 1),
    K.int(2, 1, (1 << 31) // 16 - 1), K.any(true), K.optional(K.num(0, { -1, 81, 1 })),
    wrong = { { args = { 4, -1, 0, false }, label = "a negative side", says = "must be from 0" },
      { args = { 134217727, 134217727, 134217727, true }, label = "parameters past 2^64" } } },

  { "core.optimizer", K.list(function() return { core.Param(core.zeros(2)) } end,
    { { "{1}", function() return { 1 } end }, { "twice the same", function()
      local p = core.Param(core.zeros(2))
      return { p, p }
    end }, freak }),
    factors, K.optional(factors) },
  { "core.average", K.list(function() return { core.Param(core.zeros(2)) } end,
    { { "{1}", function() return { 1 } end }, { "{}", function() return {} end } }) },

  { "core.system.clock" },
  { "core.system.memory" },
  { "core.system.machine" },
  { "core.system.isatty", K.int(1, 0, 2) },
  { "core.system.columns", K.int(1, 0, 2) },
  { "core.system.catch_interrupt", K.optional(K.str("bye", { ("x"):rep(256) })), good = false },
}

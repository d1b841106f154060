-- Options and arguments, and the messages of those that do not fit.
local core = require "cglow.core"
local options = require "cglow.util.options"

local SPEC = {
  lr = {type = "number", above = 0, default = 1e-3},
  steps = {type = "integer", min = 1, max = 10},
  fraction = {type = "number", min = 0, below = 1},
  mode = {one_of = {"paper", "live", 3}},
  kernel = {type = "integer|table", default = 3},
  name = {type = "string"},
  verbose = {type = "boolean", default = false},
  picture = {type = "function"},
  image = {type = "tensor"},
  size = {type = "table", length = 3, each = {type = "integer", min = 1}},
  cn = {type = "table", default = {}, fields = {width = {type = "integer", min = 1, default = 128}}},
  limit = {type = "number", finite = false},
  anything = {},
}

local function make(opts) -- stands for a public function
  local o = options.check("Thing", opts, SPEC)
  return o
end

local KNOWN = "known: anything, cn, fraction, image, kernel, limit, lr, mode, name, picture, size, steps, verbose)"

describe("options.check", function()
  it("fills in defaults and leaves the caller's table alone", function()
    local given = {steps = 4.0, name = "x"}
    local o = make(given)
    assert.same({lr = 1e-3, steps = 4, name = "x", kernel = 3, verbose = false, cn = {width = 128}}, o)
    assert.equal("integer", math.type(o.steps))
    assert.same({steps = 4.0, name = "x"}, given)
    assert.same(make {}, make(nil))
  end)

  it("hands out a default table as a copy", function()
    local spec = {list = {type = "table", default = {1, 2}}}
    options.check("f", {}, spec).list[1] = 9
    assert.same({1, 2}, options.check("f", {}, spec).list)
  end)

  it("takes what is well-formed", function()
    local t = core.zeros(2)
    local o = make {
      lr = 2, steps = 10, fraction = 0, mode = 3, kernel = {3, 3}, verbose = true, picture = print, image = t,
      size = {3, 32.0, 32}, cn = {width = 7}, limit = math.huge, anything = print,
    }
    assert.same({3, 32, 32}, o.size)
    assert.equal("integer", math.type(o.size[2]))
    assert.equal(7, o.cn.width)
    assert.equal(t, o.image)
    assert.equal(math.huge, o.limit)
    assert.is_true(make({limit = 0 / 0}).limit ~= make({limit = 0 / 0}).limit)
  end)

  for _, case in ipairs {
    {{lr = 0}, "Thing: option 'lr' must be a number > 0, got 0"},
    {{lr = "1"}, "Thing: option 'lr' must be a number > 0, got '1'"},
    {{lr = 0 / 0}, "Thing: option 'lr' must be a number > 0, got NaN"},
    {{lr = math.huge}, "Thing: option 'lr' must be a number > 0, got inf"},
    {{steps = 0}, "Thing: option 'steps' must be an integer >= 1 and <= 10, got 0"},
    {{steps = 11}, "Thing: option 'steps' must be an integer >= 1 and <= 10, got 11"},
    {{steps = 2.5}, "Thing: option 'steps' must be an integer >= 1 and <= 10, got 2.5"},
    {{steps = "4"}, "Thing: option 'steps' must be an integer >= 1 and <= 10, got '4'"},
    {{steps = 2 ^ 63}, "Thing: option 'steps' must be an integer >= 1 and <= 10, got 9.2233720368548e+18"},
    {{fraction = 1}, "Thing: option 'fraction' must be a number >= 0 and < 1, got 1"},
    {{mode = "papr"}, "Thing: option 'mode' must be one of 'paper', 'live', 3, got 'papr'"},
    {{kernel = "3"}, "Thing: option 'kernel' must be an integer or table, got '3'"},
    {{name = 3}, "Thing: option 'name' must be a string, got 3"},
    {{name = false}, "Thing: option 'name' must be a string, got false"},
    {{verbose = "yes"}, "Thing: option 'verbose' must be a boolean, got 'yes'"},
    {{picture = {}}, "Thing: option 'picture' must be a function, got table"},
    {{image = {1}}, "Thing: option 'image' must be a tensor, got table"},
    {{image = io.stdout}, "Thing: option 'image' must be a tensor, got FILE*"},
    {{name = core.zeros(1)}, "Thing: option 'name' must be a string, got cglow.Tensor"},
    {{size = {3, 32}}, "Thing: option 'size' must be a table of length 3, got a list of 2"},
    {{size = {3, 32, 0}}, "Thing: option 'size', element 3, must be an integer >= 1, got 0"},
    {{cn = {width = 0}}, "Thing: option 'cn.width' must be an integer >= 1, got 0"},
    {{cn = {with = 1}}, "Thing: unknown option 'cn.with' (did you mean 'width'? known: width)"},
    {{kernal = 3}, "Thing: unknown option 'kernal' (did you mean 'kernel'? " .. KNOWN},
    {{Verbose = true}, "Thing: unknown option 'Verbose' (did you mean 'verbose'? " .. KNOWN},
    {{temperature = 1}, "Thing: unknown option 'temperature' (" .. KNOWN},
    {{"paper"}, "Thing: unknown option 1 (" .. KNOWN},
    {{name = ("x"):rep(99) .. "\n", lr = "a\nb"}, "Thing: option 'lr' must be a number > 0, got 'a?b'"},
    {5, "Thing: table of options expected, got 5"},
    {"fast", "Thing: table of options expected, got 'fast'"},
  } do
    it("says: " .. case[2]:sub(1, 70), function()
      local ok, message = pcall(make, case[1])
      assert.is_false(ok)
      -- The caller is pcall, a C function: no position comes before the text.
      assert.equal(case[2], message)
    end)
  end

  it("demands what is required", function()
    local ok, message = pcall(function()
      local o = options.check("Conv2d", {}, {channels = {type = "integer", min = 1, required = true}}, -1)
      return o
    end)
    assert.is_false(ok)
    assert.matches("Conv2d: option 'channels' is required: an integer >= 1$", message)
  end)

  it("demands all that is required at once", function()
    local spec = {channels = {type = "integer", required = true}, data = {type = "function", required = true},
      width = {type = "integer", min = 1, required = true}, lr = {type = "number"}}
    local ok, message = pcall(options.check, "Conv2d", {channels = 3, lr = "no"}, spec, -1)
    assert.is_false(ok)
    assert.equal("Conv2d: option 'data' is required: a function; option 'width' is required: an integer >= 1", message)
  end)

  it("points at the line that called the public function", function()
    local line
    local function user()
      line = debug.getinfo(1, "l").currentline + 1
      local thing = make {lr = -1}
      return thing
    end
    local _, message = pcall(user)
    assert.matches("options_spec.lua:" .. line .. ": Thing: option 'lr'", message, 1, true)
  end)

  it("points past functions in between when told how many", function()
    local line
    local function inner(opts)
      local o = options.check("Outer", opts, SPEC, 1)
      return o
    end
    local function outer(opts)
      local o = inner(opts)
      return o
    end
    local function user()
      line = debug.getinfo(1, "l").currentline + 1
      local thing = outer {lr = -1}
      return thing
    end
    local _, message = pcall(user)
    assert.matches("options_spec.lua:" .. line .. ": Outer:", message, 1, true)
  end)
end)

describe("options.arg", function()
  local function save(path, count)
    options.arg("save", 1, "path", path, "string")
    count = options.arg("save", 2, "count", count, {type = "integer", min = 1, default = 5})
    return count
  end

  it("passes what fits and fills in a default", function()
    assert.equal(5, save("a"))
    assert.equal(3, save("a", 3.0))
    assert.is_nil(options.arg("f", 1, "x", nil, {type = "table", optional = true}))
  end)

  for _, case in ipairs {
    {table.pack(), "bad argument #1 to 'save': path must be a string, got nil"},
    {table.pack(3), "bad argument #1 to 'save': path must be a string, got 3"},
    {table.pack("a", 0), "bad argument #2 to 'save': count must be an integer >= 1, got 0"},
    {table.pack("a", {}), "bad argument #2 to 'save': count must be an integer >= 1, got table"},
  } do
    it("says: " .. case[2], function()
      local ok, message = pcall(save, table.unpack(case[1], 1, case[1].n))
      assert.is_false(ok)
      assert.equal(case[2], message)
    end)
  end
end)

describe("options.fields", function()
  local spec = {
    steps = {type = "integer", min = 0, required = true},
    at = {type = "table", fields = {x = {type = "number"}}},
  }

  it("gives a checked copy", function()
    assert.same({steps = 3, at = {x = 0.5}}, options.fields({steps = 3.0, at = {x = 0.5}}, spec))
  end)

  for _, case in ipairs {
    {{}, "field 'steps' is required: an integer >= 0"},
    {{}, "field 'end' is required: an integer; field 'steps' is required: an integer >= 0", {
      steps = {type = "integer", min = 0, required = true}, ["end"] = {type = "integer", required = true}}},
    {{steps = -1}, "field 'steps' must be an integer >= 0, got -1"},
    {{steps = 1, at = {x = "option"}}, "field 'at.x' must be a number, got 'option'"},
    {{steps = 1, other = 2}, "unknown field 'other' (known: at, steps)"},
  } do
    it("gives nil and says " .. case[2], function()
      assert.same({nil, case[2]}, {options.fields(case[1], case[3] or spec)})
    end)
  end
end)

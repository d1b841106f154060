-- cglow.help: finds topics, functions and objects, and is in step with the sources.
local cglow = require "cglow"
local comments = require "cglow.help.comments"
local text = cglow.help.text

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function printed(value)
  local kept, write = {}, io.stdout
  io.stdout = {write = function(_, s) kept[#kept + 1] = s end} -- luacheck: ignore 122
  local ok, message = pcall(cglow.help, value)
  io.stdout = write -- luacheck: ignore 122
  assert(ok, message)
  return table.concat(kept)
end

describe("cglow.help", function()
  it("lists every topic with a summary", function()
    local overview = printed()
    for _, topic in ipairs {"cglow", "Tensor", "Model", "Pipeline", "train", "optim", "data", "Dataset", "transform",
      "image", "metrics", "nn", "Net", "flow", "Param", "Rng", "report", "task", "baselines", "safetensors", "show",
      "help"} do
      assert.matches("\n  " .. topic .. " +%u[^\n]+", overview)
      assert.matches("^" .. topic .. "\n  %u", text(topic))
    end
  end)

  it("tells of a topic by name, by its table and by an object", function()
    local model = cglow.Model {x = {1, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1, cn = {channels = 1, width = 1},
      coupling = {width = 1}}
    for name, values in pairs {
      cglow = {cglow},
      Model = {"model", "cglow.Model", cglow.Model, model},
      Tensor = {"TENSOR", cglow.zeros(1)},
      flow = {cglow.flow, cglow.flow.squeeze(), cglow.flow.actnorm(1)},
      Net = {cglow.nn.ReLU()},
      Rng = {cglow.rng()},
      Param = {model:parameters()[1]},
      optim = {cglow.optim, cglow.optim.SGD(model:parameters())},
      Dataset = {cglow.data.Dataset {size = 0, get = print}},
      transform = {cglow.data.transform.flip()},
      image = {cglow.image},
      help = {cglow.help},
    } do
      for _, value in ipairs(values) do assert.equal(name, text(value):match "^[^\n]+", tostring(value)) end
    end
  end)

  it("tells of one function by name or by itself", function()
    for full, values in pairs {
      ["Model:sample(cond[, opts])"] = {"Model:sample", "model:sample", "cglow.Model:sample"},
      ["cglow.image.resize(t, height, width[, opts])"] = {"image.resize", "cglow.image.resize", cglow.image.resize},
      ["cglow.zeros(...)"] = {"zeros", cglow.zeros},
      ["Tensor:narrow(dim, start, length)"] = {"narrow", "tensor:narrow"},
      ["cglow.flow.squeeze()"] = {"squeeze", cglow.flow.squeeze},
      ["cglow.data.Dataset(opts)"] = {cglow.data.Dataset},
    } do
      for _, value in ipairs(values) do assert.equal(full, text(value):match "^[^\n]+") end
    end
    assert.matches("^cglow.data.transform.resize.*\ncglow.image.resize", text "resize")
    assert.matches("\n  returns Tensor N·n × C×H×W", text "Model:sample")
    assert.matches("\n  opts %(table, optional%): ", text "Model:sample")
  end)

  it("says so when nothing is known", function()
    assert.is_nil(text "no such thing")
    assert.equal("nothing is known of 'no such thing'; cglow.help() lists what there is\n", printed "no such thing")
    assert.equal("nothing is known of 3; cglow.help() lists what there is\n", printed(3))
  end)

  it("keeps to 100 columns", function()
    for line in (text() .. text "Tensor" .. text "flow" .. text "Dataset"):gmatch "[^\n]+" do
      assert.is_true(utf8.len(line) <= 100, line)
    end
  end)

  it("has the comments of the C sources as they are", function()
    local pipe <close> = assert(io.popen((arg[-1] or "lua5.4") .. " spec/tools/core_help.lua"))
    assert.equal(pipe:read "a", read "lua/cglow/help/core.lua",
      "run: make")
  end)
end)

describe("cglow.help.comments", function()
  it("reads Lua", function()
    local found = comments.read("--- About.\n-- @module m\n\n--- Does it. Well.\n-- @tparam[opt] table o with\n"
      .. "-- @tparam {int,...} list\nfunction M.f(list, o)\n--- Not this.\nlocal function g(a) end\n", "lua")
    assert.equal("m", found.module_name)
    assert.equal(1, #found)
    assert.equal("f(list[, o]): Does it.", found[1].name .. found[1].args .. ": " .. found[1].summary)
  end)

  it("reads C", function()
    local found = comments.read("/*** About.\n@module m */\n"
      .. "/*** Both\nlines.\n@function C:f\n@int n\n@bool[opt] b x */", "c")
    assert.equal("C:f(n[, b])", found[1].name .. found[1].args)
    assert.equal("Both lines.", found[1].summary)
  end)
end)

--- cglow.open: a trained model with all of its task.
local cglow = require "cglow"
local core = require "cglow.core"
local identity = require "cglow.tasks.identity"
local image = require "cglow.image"
local json = require "cglow.util.json"
local kept = require "cglow.run.scores"
local sets = require "spec.support.sets"

describe("cglow.open", function()
  local folder, remove
  before_each(function() folder, remove = sets.folder() end)
  after_each(function() remove() end)

  local SHAPES <const> = {
    binary_segmentation = {{3, 8, 8}, {3, 8, 8}}, multiclass_segmentation = {{3, 8, 8}, {3, 8, 8}},
    denoising = {{3, 8, 8}, {3, 8, 8}}, depth_refinement = {{3, 8, 8}, {1, 8, 8}}, inpainting = {{3, 8, 8}, {3, 4, 4}},
    pairs = {{3, 8, 8}, {1, 8, 8}},
  }

  -- A model file of a task that nobody has trained.
  local function file_of(name, values, metadata)
    local model = cglow.Model {x = SHAPES[name][1], y = SHAPES[name][2], levels = 1, depth = 1, rng = core.Rng(1),
      encoder = {channels = {2, 2}}, coupling = {width = 4}}
    local path, settings = ("%s/%s.safetensors"):format(folder, name), {samples = 2}
    for key, value in pairs(values or {}) do settings[key] = value end
    metadata = metadata or {cell_width = "1"}
    metadata.task = metadata.task or identity.text(require("cglow.tasks." .. name), settings)
    assert(model:save(path, {metadata = metadata}))
    return path
  end

  local photo <const> = (core.rand(3, 21, 30, core.Rng(5)) * 255):round() / 255

  it("answers a path, bytes and a tensor alike, in the picture's size", function()
    local path, png = file_of("pairs", {kind = "mask"}), folder .. "/photo.png"
    sets.save(png, photo)
    local first
    for _, what in ipairs {png, sets.read(png), photo} do
      local opened = assert(cglow.open(path)) -- each starts its samples with the same seed
      local said = assert(opened:predict(what))
      assert.same({21, 30}, said.answer:size())
      assert.same({1, 21, 30}, said.mean:size())
      assert.same({1, 21, 30}, said.std:size())
      assert.is_true(said.std:max() > 0)
      assert.same({21, 30}, image.decode(opened:png(said)):narrow(1, 1, 1):reshape(21, 30):size())
      first = first or said
      assert.is_true((said.mean - first.mean):abs():max() < 1e-5)
    end
  end)

  it("goes on with other samples, the same ones each time", function()
    local path = file_of("pairs", {kind = "mask"})
    local function samples()
      local opened, list = assert(cglow.open(path, {seed = 7})), {}
      for i = 1, 2 do list[i] = opened:sample(photo, {n = 1})[1] end
      return list
    end
    local a, b = samples(), samples()
    assert.is_true(a[1]:equal(b[1]) and a[2]:equal(b[2]))
    assert.is_false(a[1]:equal(a[2]))
  end)

  for _, case in ipairs {
    {"binary_segmentation", {21, 30}, 1}, {"multiclass_segmentation", {21, 30}, 3}, {"denoising", {3, 21, 30}, 3},
    {"depth_refinement", {1, 21, 30}, 1}, {"inpainting", {3, 21, 30}, 3},
  } do
    it("knows all of " .. case[1], function()
      local opened = assert(cglow.open(file_of(case[1], nil, {})))
      local what = photo
      if case[1] == "depth_refinement" then what = core.full({1, 21, 30}, 1.5) end -- metres
      if case[1] == "inpainting" then
        what = core.cat({photo, core.ones(1, 21, 30)}, 1)
        what[4][10]:narrow(1, 8, 6):fill(0)
      end
      local said = assert(opened:predict(what))
      assert.same(case[2], said.answer:size())
      assert.same({case[3], 21, 30}, said.mean:size())
      assert.same({case[3], 21, 30}, said.std:size())
      assert.is_string(opened:png(said))
      local samples = assert(opened:sample(what, {n = 3}))
      assert.equal(3, #samples)
      assert.same({case[3], 21, 30}, samples[3]:size())
      assert.is_false(samples[1]:equal(samples[2]))
      local score = assert(opened:score(what, not opened.task.alone and (#said.answer:size() == 2 and said.answer
        or case[1] == "denoising" and photo or what) or nil))
      assert.is_number(score.log_prob)
      assert.is_nil(score.percentile)
    end)
  end

  it("answers by the settings of a run folder, and of the pairs that it learned", function()
    local path = file_of("pairs", {kind = "labels", classes = 1}, {task = "{}"})
    os.rename(path, folder .. "/best.safetensors")
    sets.write(folder .. "/config.json", json.encode {task = "pairs", settings = {kind = "mask", samples = 3}})
    local opened = assert(cglow.open(folder))
    assert.equal(("cglow.Pipeline of pairs: %s/best.safetensors, 8x8, mean of 3 samples"):format(folder),
      tostring(opened))
    assert.same({21, 30}, opened:predict(photo).answer:size())
  end)

  it("says how unusual a pair is where held-out scores are kept", function()
    local path = file_of("pairs", {kind = "mask"})
    assert(kept.write(folder, path, {draws = 4, seed = 1}, {-50, -40, -30, 900}, "here"))
    local score = assert(assert(cglow.open(path)):score(photo, core.ones(21, 30)))
    assert.equal(75, score.percentile)
    assert.is_number(score.z)
  end)

  it("scores a path, bytes and a tensor alike, of the picture and of its answer", function()
    local png, mask = folder .. "/photo.png", folder .. "/mask.png"
    local answer = photo:narrow(1, 1, 1):gt(0.5)
    sets.save(png, photo)
    sets.save(mask, answer)
    local opened, first = assert(cglow.open(file_of("pairs", {kind = "mask"}))), nil
    for _, x in ipairs {png, sets.read(png), assert(image.load(png))} do
      for _, y in ipairs {mask, sets.read(mask), answer, answer[1]} do
        local score = assert(opened:score(x, y))
        first = first or score
        assert.equal(first.log_prob, score.log_prob)
      end
    end
    assert.same({nil, "the answer: not clearly a mask: it has more than 256 colours; a mask has 0 and one other value, "
      .. "or values around 0 and the largest"}, {opened:score(png, sets.read(png))})
  end)

  it("takes a task of one's own", function()
    local task = cglow.task.define {name = "own", kind = "mask", data = function() end}
    local path = file_of("pairs", nil, {task = json.encode {name = "own", settings = {}}})
    local none, message = cglow.open(path)
    assert.is_nil(none)
    assert.equal(path .. " is of the task 'own', which does not come along: give it as option 'task'", message)
    assert.same({21, 30}, assert(cglow.open(path, {task = task})):predict(photo).answer:size())
  end)

  it("gives nil and a message for what it cannot open or read", function()
    local bare = folder .. "/bare.safetensors"
    assert(cglow.Model {x = {3, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1}:save(bare))
    for what, message in pairs {
      [folder .. "/nowhere"] = "nowhere: No such file or directory", [folder] = "is no run folder",
      ["README.md"] = "README.md: ", [bare] = "does not say of which task it is",
      [file_of("pairs", nil, {task = '{"name": "settings", "settings": {}}'})] = "is of the task 'settings'",
      [file_of("denoising", nil, {task = '{"name": "inpainting", "settings": {}}'})] = "is no model of inpainting",
      [file_of("inpainting", nil, {task = '{"name": "pairs", "settings": {"kind": "music"}}'})] = "option 'kind'",
      [file_of("depth_refinement", nil, {task = '{"name": "pairs", "settings": {"classes": "two"}}'})] = "classes",
    } do
      local none, text = cglow.open(what)
      assert.is_nil(none)
      assert.matches(message, text, 1, true)
    end
    local opened = assert(cglow.open(file_of("binary_segmentation")))
    for _, method in ipairs {"predict", "sample"} do
      local none, text = opened[method](opened, folder .. "/no.png")
      assert.is_nil(none)
      assert.matches("no.png", text, 1, true)
      none, text = opened[method](opened, "\x89PNG\r\n\x1a\ncut")
      assert.is_nil(none)
      assert.matches("the picture: ", text, 1, true)
    end
    assert.matches("do not show the same", select(2, opened:score(photo, core.ones(30, 5))))
  end)

  it("refuses misuse at the line that it stands on", function()
    local opened = assert(cglow.open(file_of("pairs", {kind = "mask"})))
    for _, case in ipairs {
      {function() cglow.open(42) end, "bad argument #1 to 'cglow.open': path must be a string, got 42"},
      {function() cglow.open("x", {sample = 3}) end, "cglow.open: unknown option 'sample'"},
      {function() cglow.open("x", {samples = 0}) end, "cglow.open: option 'samples' must be an integer >= 1"},
      {function() opened:predict(42) end, "bad argument #1 to 'Pipeline:predict': picture must be a path, the bytes"},
      {function() opened:predict(core.zeros(3)) end, "bad argument #1 to 'Pipeline:predict'"},
      {function() opened:predict(photo, {n = 3}) end, "Pipeline:predict: unknown option 'n'"},
      {function() opened:sample(photo, {n = 0}) end, "Pipeline:sample: option 'n' must be"},
      {function() opened:sample(nil) end, "bad argument #1 to 'Pipeline:sample': picture must be"},
      {function() opened:score({}, photo) end, "bad argument #1 to 'Pipeline:score': picture must be"},
      {function() opened:score(photo) end, "bad argument #2 to 'Pipeline:score': answer must be"},
      {function() opened:png {} end, "bad argument #1 to 'Pipeline:png': said.picture must be"},
      {function() opened.predict(photo) end, "bad argument #0 to 'Pipeline:predict': cglow.Pipeline expected"},
    } do
      local ok, message = pcall(case[1])
      assert.is_false(ok)
      assert.matches("open_spec.lua:%d+: ", message)
      assert.matches(case[2], message, 1, true)
    end
  end)

  it("keeps nothing of a request: memory is flat over thousands", function()
    local opened = assert(cglow.open(file_of("pairs", {kind = "mask"}), {centre = true, mirror = false}))
    local bytes = assert(image.encode(photo, "png"))
    local function held()
      collectgarbage()
      collectgarbage()
      return collectgarbage "count" * 1024, (core.system.memory())
    end
    local function answer(requests)
      for i = 1, requests do
        assert(opened:png(assert(opened:predict(bytes))))
        if i % 10 == 0 then opened:score(photo, core.ones(21, 30)) end
      end
      return held()
    end
    local lua, process = answer(1000)
    local first, growth = lua, {}
    -- One tensor of a request, 21×30 numbers, would be 2.5 MB after each thousand. The system may take pages from a
    -- process for a while, so that one of the figures is small: what leaks grows every time.
    local flat = os.getenv("LD_PRELOAD") ~= nil -- a sanitizer keeps what was freed
    for round = 1, 4 do
      local before = process
      lua, process = answer(round == 1 and 2000 or 1000)
      growth[round] = process - before
      flat = flat or growth[round] <= 1 << 19
      if flat then break end
    end
    assert.is_true(lua <= first + 4096, ("Lua holds %d bytes, %d before"):format(lua, first))
    assert.is_true(flat, "bytes more, after each thousand: " .. table.concat(growth, ", "))
  end)
end)

describe("the HTTP example", function()
  local has_socket, socket = pcall(require, "socket")
  if not has_socket then
    return pending "luasocket (Debian's lua-socket) is not installed: examples/http_service.lua is not tried"
  end

  local folder, remove
  before_each(function() folder, remove = sets.folder() end)
  after_each(function() remove() end)

  it("answers a posted picture with a PNG of its size, and says what is wrong with other requests", function()
    local path = folder .. "/m.safetensors"
    assert(cglow.Model {x = {3, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1, encoder = {channels = {2, 2}},
      coupling = {width = 4}}:save(path, {metadata = {cell_width = "1",
      task = '{"name": "pairs", "settings": {"kind": "mask", "samples": 2}}'}}))
    local pipe = assert(io.popen(("LUA_PATH='%s' LUA_CPATH='%s' sh -c 'echo $$; exec lua5.4 "
      .. "examples/http_service.lua %s 0' 2>&1"):format(package.path, package.cpath, path)))
    local pid, name = pipe:read "l", pipe:read "l"
    local port = tonumber((pipe:read "l" or ""):match ":(%d+)$")
    assert.is_truthy(port, name)

    local function ask(request)
      local client = assert(socket.connect("localhost", port))
      client:settimeout(20)
      assert(client:send(request))
      local text = client:receive "*a"
      client:close()
      return text:match "^HTTP/1.1 (%d+)", text:match "\r\n\r\n(.*)$"
    end

    local function post(body)
      return ask(("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
    end

    local ok, message = pcall(function()
      local bytes = assert(image.encode(core.rand(3, 12, 17, core.Rng(1)), "png"))
      local status, body = post(bytes)
      assert.equal("200", status)
      assert.same({1, 12, 17}, assert(image.decode(body)):size())
      assert.same({"422", "the picture: "}, {(post(bytes:sub(1, 50))), select(2, post(bytes:sub(1, 50))):sub(1, 13)})
      assert.equal("200", (ask(("POST / HTTP/1.1\r\nCONTENT-LENGTH: %d \r\n\r\n%s"):format(#bytes, bytes))))
      assert.equal("405", (ask "GET / HTTP/1.1\r\n\r\n"))
      assert.equal("413", (ask "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"))
      assert.equal("200", (post(bytes))) -- and goes on
    end)
    os.execute("kill " .. pid)
    pipe:close()
    assert.is_true(ok, message)
  end)
end)

-- `train --init-from`: a new run that begins with the weights of another.
local cglow = require "cglow"
local command_line = require "spec.support.command_line"
local json = require "cglow.util.json"

local TOY <const> = command_line.TOY

describe("train --init-from", function()
  local folder, run = command_line.each(before_each, after_each)

  local function train(name, options)
    return run(TOY, ("train --quiet --run '%s/%s' %s"):format(folder, name, options or ""))
  end

  local function tensors_of(name) return assert(cglow.load_tensors(("%s/%s"):format(folder, name))) end

  -- With a step size below the smallest float a run ends with the weights that it began with.
  local STILL <const> = " --config optimizer.lr=1e-60 --config warmup=0 --steps 1"

  local function assert_same_weights(expected, got)
    local count = 0
    for name, tensor in pairs(expected) do
      count = count + 1
      assert.same(tensor:totable(), got[name]:totable(), name)
    end
    assert.is_true(count > 20)
  end

  it("begins with the averaged weights of the run's best model, at another size", function()
    assert.equal(0, (train("a", "--config ema=0.9")))
    local code, _, err = train("b", ("--size 16 --init-from '%s/a'"):format(folder) .. STILL)
    assert.equal("", err)
    assert.equal(0, code)
    assert_same_weights(tensors_of "a/best.safetensors", tensors_of "b/model.safetensors")
    local config = assert(json.read(folder .. "/b/config.json"))
    assert.same({path = folder .. "/a/best.safetensors", step = 12}, config.init_from)
    assert.matches("%-%-init%-from", config.command)
    assert.same({3, 16, 16}, config.model.y)
  end)

  it("takes a file as well, and its make of model", function()
    assert.equal(0, (train("a", "--config depth=2 --config coupling.width=6 --config ema=0.9")))
    local path = folder .. "/a/checkpoints/step-00000008.safetensors"
    assert.equal(0, (train("b", ("--init-from '%s'"):format(path) .. STILL)))
    local first, second = tensors_of "a/checkpoints/step-00000008.safetensors", tensors_of "b/model.safetensors"
    for name in pairs(first) do if name:find "^optimizer%." then first[name] = nil end end
    assert_same_weights(first, second)
    local config = assert(json.read(folder .. "/b/config.json"))
    assert.same({path = path, step = 8}, config.init_from)
    assert.equal(6, config.settings["coupling.width"])

    assert.equal(0, (train("p", "--recipe paper --config cn.width=6 --steps 2")))
    assert.equal(0, (train("q", ("--init-from '%s/p'"):format(folder) .. STILL)))
    assert_same_weights(tensors_of "p/best.safetensors", tensors_of "q/model.safetensors")
    assert.equal("paper", assert(json.read(folder .. "/q/config.json")).settings.recipe)
  end)

  it("starts the optimizer afresh, and is resumed like any other run", function()
    assert.equal(0, (train "a"))
    local from = ("--init-from '%s/a'"):format(folder)
    assert.equal(0, (train("whole", from)))
    assert.equal(0, (train("b", from .. " --steps 4 ")))
    local _, metadata = cglow.load_tensors(folder .. "/b/last.safetensors")
    assert.equal(4, json.decode(metadata.training).optimizer_steps)
    assert.equal(0, (train("b", "--resume --steps 12")))
    assert.equal(folder .. "/a/best.safetensors", assert(json.read(folder .. "/b/config.json")).init_from.path)
  end)

  it("takes the weights again when a run is resumed that never came to a checkpoint", function()
    assert.equal(0, (train "a"))
    assert.equal(0, (train("b", ("--init-from '%s/a'"):format(folder) .. STILL)))
    os.execute(("rm '%s/b/checkpoints/'* '%s/b/'*.safetensors"):format(folder, folder))
    assert.equal(0, (train("b", "--resume")))
    assert_same_weights(tensors_of "a/best.safetensors", tensors_of "b/model.safetensors")
  end)

  it("names what does not fit, and leaves no run", function()
    assert.equal(0, (train("a", "--recipe paper --steps 1")))
    for _, case in ipairs {
      {"--size 16 --init-from '%s/a'", "a/best.safetensors does not fit: tensor 'level.1.step.1.actnorm.cn.fc1.weight' "
        .. "has shape 8x4, expected 8x16; tensor"},
      {"--recipe encoder --init-from '%s/a'", "tensor 'encoder.stem.weight' is missing; and "},
      {"--init-from '%s/none'", "/none: No such file or directory"},
      {"--init-from Makefile", "--init-from: Makefile: no safetensors file"},
          } do
      local code, _, err = train("b", case[1]:format(folder))
      assert.equal(2, code)
      assert.matches(case[2], err, 1, true)
      assert.matches("^binary_segmentation: %-%-init%-from: ", err)
      assert.is_nil(io.open(folder .. "/b/config.json"))
    end
    local network = cglow.feedforward.Segmenter {x = {3, 8, 8}, classes = 2, channels = 2, depth = 1}
    assert(network:save(folder .. "/network.safetensors"))
    assert.matches("/network.safetensors holds a feed%-forward network, not a flow\n$",
      select(3, train("b", ("--init-from '%s/network.safetensors'"):format(folder))))
    local code, _, err = train("a", ("--resume --init-from '%s/a'"):format(folder))
    assert.equal(2, code)
    assert.matches("--init-from: a run that is resumed has weights of its own", err, 1, true)
  end)
end)

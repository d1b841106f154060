--- Runs on poor file systems, in folders from strangers, and under signals that come twice.
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local json = require "cglow.util.json"
local lfs = require "lfs"
local runfolder = require "cglow.run.folder"
local report = require "cglow.report"
local sets = require "spec.support.sets"
local toy = require "spec.support.toy"

local folder, run_script, train = command_line.each(before_each, after_each)

local function run(arguments, environment) return run_script(command_line.TOY, arguments, environment) end

local function file(name) return folder .. "/run/" .. name end
local function link(to, name) assert(lfs.link(to, file(name), true)) end

it("a run that cannot be gone on with is not said to be saved", function()
  assert.equal(0, (train ""))
  assert(os.rename(file "checkpoints/step-00000012.safetensors", file "checkpoints/step-00000020.safetensors"))
  for _, how in ipairs {"", "--resume"} do
    local code, _, err = train(how .. " --steps 30")
    assert.equal(2, code)
    assert.matches(how == "" and "resume it, or choose another folder\n$" or "it is of step 12, not 20\n$", err)
  end
end)

describe("a file system", function()
  local library
  before_each(function()
    library = folder .. "/no_links.so"
    local command = ("cc -shared -fPIC -o '%s' spec/support/no_links.c -ldl 2>'%s/.cc'"):format(library, folder)
    local built = os.execute(command)
    if not built then library = nil end
  end)

  local function on(...)
    local names = {...}
    for i, name in ipairs(names) do names[i] = name .. "=1" end
    return ("LD_PRELOAD='%s' %s"):format(library, table.concat(names, " "))
  end

  it("without links has a copy as last.safetensors", function()
    if not library then return pending "no compiler to build what takes the links away" end
    local code, _, err = train("", on "NOLINK")
    assert.equal("", err)
    assert.equal(0, code)
    assert.equal("file", lfs.symlinkattributes(file "last.safetensors", "mode"))
    assert.equal(toy.read(file "checkpoints/step-00000012.safetensors"), toy.read(file "last.safetensors"))
    os.remove(file "best.safetensors")
    assert.equal(0, (run(("evaluate --quiet --run '%s/run'"):format(folder))))
    assert.equal(0, (train("--resume --steps 14", on "NOLINK")))
  end)

  it("without locks is used as it is, which is said once", function()
    if not library then return pending "no compiler to build what takes the locks away" end
    local code, _, err = train("", on "NOLOCK")
    assert.equal(0, code)
    assert.equal(("warning: %s/run: the file system has no locks: see that no other process trains here\n"):format(
      folder), err)
  end)

  it("that cannot sync is used as it is", function()
    if not library then return pending "no compiler to build what takes the syncs away" end
    local code, _, err = train("", on "NOSYNC")
    assert.equal("", err)
    assert.equal(0, code)
  end)
end)

describe("a run folder from a stranger", function()
  local secret
  before_each(function()
    assert.equal(0, (train()))
    secret = folder .. "/secret"
    sets.write(secret, '{"settings": {"password": "TOP SECRET"}}')
  end)

  local function refuses(name, f)
    local ok, message = f()
    assert.is_falsy(ok)
    assert.is_truthy(message:find(name .. " is a link: links inside a run folder are not followed", 1, true), message)
  end

  it("gets no file into its report through a link", function()
    link(secret, "samples/step-00000099.png")
    assert(report.save {folder .. "/run"})
    local page = toy.read(file "report.html")
    assert.is_nil(page:find("VE9QIFNFQ1JFVA", 1, true)) -- TOP SECRET in base64
    assert.is_nil(page:find("step 99", 1, true))
    for _, name in ipairs {"config.json", "log.jsonl"} do
      os.remove(file(name))
      link(secret, name)
      refuses(name, function() return report.render {folder .. "/run"} end)
      assert(os.remove(file(name)))
      sets.write(file(name), name == "config.json" and '{"task": "binary_segmentation"}' or "")
    end
    os.execute(("mv '%s/run/samples' '%s/elsewhere'"):format(folder, folder))
    link(folder .. "/elsewhere", "samples")
    assert.is_nil(assert(report.render {folder .. "/run"}):find("data:image/png", 1, true))
  end)

  it("makes nobody remove, sweep or make what lies elsewhere", function()
    os.execute(("cp -r '%s/run' '%s/victim'"):format(folder, folder))
    local victim = folder .. "/victim/checkpoints/"
    sets.write(victim .. "step-00000001.safetensors", "mine")
    sets.write(victim .. ".cglow-1-1.tmp", "mine")
    for _, name in ipairs {"checkpoints", "samples", "lock", "log.jsonl"} do
      os.execute(("rm -rf '%s'"):format(file(name)))
      link(name == "lock" and folder .. "/made" or folder .. "/victim/" .. name, name)
      local before = toy.read(folder .. "/victim/log.jsonl")
      local code, _, err = train "--resume --steps 20 --config keep=1"
      assert.equal(2, code, name)
      if name ~= "checkpoints" then assert.matches(name .. " is a link", err, 1, true) end
      assert.equal(before, toy.read(folder .. "/victim/log.jsonl"))
      assert.equal("mine", toy.read(victim .. "step-00000001.safetensors"))
      assert.equal("mine", toy.read(victim .. ".cglow-1-1.tmp"))
      assert.is_nil(lfs.attributes(folder .. "/made"))
      os.remove(file(name))
      os.execute(("cp -r '%s/victim/%s' '%s'"):format(folder, name, file(name)))
      os.remove(file "checkpoints/step-00000001.safetensors")
      os.remove(file "checkpoints/.cglow-1-1.tmp")
    end
  end)

  it("gives no model from elsewhere", function()
    local own = runfolder.at(folder .. "/run")
    assert.equal(file "best.safetensors", own:model())
    os.remove(file "best.safetensors")
    assert.equal(file "last.safetensors", own:model())
    os.remove(file "last.safetensors")
    link(secret, "last.safetensors")
    assert.matches("last.safetensors leads out of the run folder", select(2, own:model()))
    link(secret, "best.safetensors")
    refuses("best.safetensors", function() return own:model() end)
  end)

  it("moves no terminal by the names in it", function()
    local config = assert(json.read(file "config.json"))
    config.task = "x\27]0;TITLE\7\u{9b}2J"
    assert(core.file.write(file "config.json", json.encode(config)))
    local code, _, err = run(("evaluate --run '%s/run'"):format(folder))
    assert.equal(2, code)
    assert.matches("one of x\\x1b]0;TITLE\\x07\\u{9b}2J", err, 1, true)
    assert.is_nil(err:find "[%z\1-\9\11-\31\127]")
    local progress = require "cglow.train.progress"
    for _, mode in ipairs {"bar", "lines"} do
      local said = {}
      local stream = {write = function(_, ...) said[#said + 1] = table.concat {...} end, flush = function() end}
      local shown = progress.new(mode, stream, stream)
      shown:validation(1, {nll = 1, ["\27]0;TITLE\7"] = 2})
      shown:note "\27[2J"
      shown:warn "\27[2J"
      shown:step {step = 1, steps = 1, nll = 0 / 0, per_second = 1, left = 1, memory = 1, data_share = 0,
        valid = {nll = 1, ["\27]0;TITLE\7"] = 2}}
      local text = table.concat(said):gsub("\r\27%[K", "") -- what the bar itself needs
      assert.is_nil(text:find "[%z\1-\9\11-\31\127]")
      assert.matches("\\x1b]0;TITLE", text, 1, true)
      assert.matches("nll –", text, 1, true)
    end
  end)
end)

describe("a signal", function()
  it("that comes twice at once, as timeout sends it, is one: all is saved", function()
    for signal, expected in pairs {INT = 130, TERM = 143} do
      local kill = ("TOY_KILL='kill -%s $PPID; kill -%s $PPID'"):format(signal, signal)
      local code, _, err = train("", "TOY_INTERRUPT=37 " .. kill)
      assert.equal(expected, code)
      assert.matches("stopped at step 7 of 12", err)
      assert.equal("file", lfs.attributes(file "checkpoints/step-00000007.safetensors", "mode"))
      os.execute(("rm -rf '%s/run'"):format(folder))
    end
  end)

  it("that comes again later ends the run at once, with a line and no traceback", function()
    local code, _, err = train("", "TOY_INTERRUPT=37 TOY_KILL='kill -INT $PPID; sleep 1.2; kill -INT $PPID'")
    assert.equal(130, code)
    assert.matches("binary_segmentation: stopped at once in step %d+ of 12\n", err)
    assert.is_nil(err:find "traceback")
    assert.is_nil(lfs.attributes(file "checkpoints/step-00000007.safetensors"))
  end)

  it("outside of training ends a command with a line and 130", function()
    assert.equal(0, (train()))
    local code, _, err = run(("evaluate --run '%s/run'"):format(folder), "TOY_INTERRUPT=7")
    assert.equal(130, code)
    assert.equal("binary_segmentation: interrupted\n", err)
  end)
end)

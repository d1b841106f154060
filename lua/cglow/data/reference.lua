--- Clean references of the depth frames of a sequence, made once and kept.
--
-- A kept reference is a 16-bit PNG in tenths of a millimetre, 0 = not known.
-- @module cglow.data.reference
local image = require "cglow.image"
local depth = require "cglow.data.depth"
local files = require "cglow.data.files"

local M = {}

local UNIT <const> = 1e-4 -- metres
local LARGEST <const> = 65535

local Fuser = {}
Fuser.__index = Fuser

--- References of one sequence.
-- @tparam table sequence `name`, `camera`, `frames`: list of {number, depth = path, pose = path}
-- in order
-- @tparam integer radius frames before and after that are fused
-- @tparam ?string dir folder to keep references in; nil: a folder in the user's cache
-- @treturn Fuser
function M.new(sequence, radius, dir)
  -- a sixth of the views must agree: fewer leave specks at the rim of what was seen
  return setmetatable({sequence = sequence, radius = radius, support = math.max(2, radius // 3), dir = dir,
                       decoded = {}, poses = {}}, Fuser)
end

-- The folder depends on all that goes into the references.
local function folder(self)
  if self.folder then return self.folder end
  local base, message = self.dir, nil
  if not base then base, message = files.cache_dir() end
  if not base then return nil, message end
  local paths = {}
  for _, frame in ipairs(self.sequence.frames) do
    paths[#paths + 1], paths[#paths + 2] = frame.depth, frame.pose
  end
  local recipe = ("fusion 1 radius %d support %d camera %s%s"):format(
    self.radius, self.support, table.concat(self.sequence.camera, " "),
    self.sequence.unit and (" unit %.17g"):format(self.sequence.unit) or "")
  self.folder = files.join(base, ("depth-%s-%s"):format(self.sequence.name, files.fingerprint(recipe, paths)))
  return self.folder
end

local function decode(self, i)
  local frame = self.sequence.frames[i]
  local message
  if not self.decoded[i] then
    self.decoded[i], message = depth.load(frame.depth, self.sequence.unit)
    if not self.decoded[i] then return nil, message end
  end
  if not self.poses[i] then
    self.poses[i], message = depth.read_pose(frame.pose)
    if not self.poses[i] then return nil, message end
  end
  return self.decoded[i], self.poses[i]
end

-- Decoded frames that the neighbours will want, too, stay; a frame is 1.2 MB.
local function forget(self, first, last)
  for i in pairs(self.decoded) do
    if i < first or i > last then self.decoded[i] = nil end
  end
end

local function same_size(a, b) return a:size(1) == b:size(1) and a:size(2) == b:size(2) end

local function fuse(self, which)
  local frames, first = self.sequence.frames, math.max(1, which - self.radius)
  local last = math.min(#frames, which + self.radius)
  forget(self, first, last)
  local maps, poses = {}, {}
  for i = first, last do
    local map, pose = decode(self, i)
    if not map then return nil, pose end
    if maps[1] and not same_size(map, maps[1]) then
      return nil, frames[i].depth .. ": not of the size of its neighbours"
    end
    maps[#maps + 1], poses[#poses + 1] = map, pose
  end
  return (depth.fuse(maps, poses, which - first + 1, {camera = self.sequence.camera, support = self.support}))
end

local function keep(path, dir, units)
  local ok, message = files.make_folder(dir)
  if ok then ok, message = image.save(path, units, {bits = 16, raw = true}) end
  if not ok then files.notify(("the fused depth is not kept: %s"):format(message)) end
end

local function load_kept(path)
  if not files.is_file(path) then return nil end
  local units, message = image.load(path, {raw = true, channels = 1})
  if units then return units[1] end
  files.notify(("%s; making it again"):format(message))
end

--- The reference of a frame.
-- @tparam integer which its place in the sequence
-- @treturn[1] Tensor H×W in metres, 0 = not known
-- @treturn[2] nil when a file cannot be read
-- @treturn[2] string message
function Fuser:get(which)
  local dir, message = folder(self)
  if not dir then files.notify_once(("the fused depth is not kept: %s"):format(message)) end
  local path = dir and files.join(dir, ("frame-%06d.png"):format(self.sequence.frames[which].number))
  local units = path and load_kept(path)
  if not units then
    local metres
    metres, message = fuse(self, which)
    if not metres then return nil, message end
    units = (metres / UNIT):round()
    units:mul(units:lt(LARGEST + 1)) -- too far to be kept is not known
    if path then keep(path, dir, units) end
  end
  return units * UNIT
end

return M

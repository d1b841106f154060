--- Depth frames with poses, and a clean reference made of a frame's neighbours.
--
-- Files as 7-Scenes has them: `frame-000000.depth.png`, 16 bits, millimetres (0
-- or 65535 = no reading); `frame-000000.pose.txt`, camera-to-world, 4×4, metres;
-- camera-intrinsics.txt, 3×3, pixels.
-- @module cglow.data.depth
local core = require "cglow.core"
local source = require "cglow.image.source"
local files = require "cglow.data.files"
local vision = require "cglow.image.vision"

local M = {}

local NO_READING <const> = 65535

local MILLIMETRE <const> = 1e-3

--- Metres that 1 in a file stands for.
-- @tparam ?number unit nil: millimetres
-- @treturn number
function M.unit(unit) return unit or MILLIMETRE end

--- A depth map in metres. Without a unit it must have 16 bits a sample: 8 bits of
-- millimetres end at 25 cm, so they are something else. Floating-point files need a
-- unit, too; in them infinity means none, as in published maps.
-- @tparam string|table what a path, or a source (`cglow.image.source`), whose tensor is in metres
-- @tparam ?number unit metres that 1 in the file stands for; nil: millimetres
-- @treturn[1] Tensor H×W, 0 = no reading
-- @treturn[2] nil
-- @treturn[2] string message
function M.load(what, unit)
  local given = source.of(what)
  local info, message = source.info(given)
  if not info and not given.tensor then return nil, message end
  local t
  if (info and info.channels or #given.tensor) ~= 1 then return nil, given.name .. ": a depth map has one channel" end
  t, message = source.load(given, {raw = true})
  if not t then return nil, message end
  if not info then return t[1] end
  if not unit and info.max <= 255 then
    return nil, ("%s: %s are no millimetres: what 1 stands for must be said by 'unit', in metres"):format(
      given.name, info.floating and "floating-point numbers" or "samples of 8 bits")
  end
  t = t:clamp(0, NO_READING) -- infinity times nothing would be no number
  if t:sum() ~= t:sum() then return nil, given.name .. ": a depth map with numbers that are none (NaN)" end
  return (t[1] * t[1]:lt(NO_READING)):mul(M.unit(unit))
end

local function read_numbers(path, count)
  local text, message = files.read_whole(path)
  if not text then return nil, message end
  local numbers = {}
  for word in text:gmatch("%S+") do
    local n = tonumber(word)
    if not n or n ~= n or math.abs(n) == math.huge then return nil, path .. ": not a finite number" end
    numbers[#numbers + 1] = n
  end
  if #numbers ~= count then return nil, ("%s: %d numbers expected, got %d"):format(path, count, #numbers) end
  return numbers
end

--- Camera of camera-intrinsics.txt.
-- @treturn[1] {number,...} fx, fy, cx, cy
-- @treturn[2] nil
-- @treturn[2] string message
function M.read_camera(path)
  local k, message = read_numbers(path, 9)
  if not k then return nil, message end
  if k[1] <= 0 or k[5] <= 0 then return nil, path .. ": focal lengths must be above 0" end
  return {k[1], k[5], k[3], k[6]}
end

--- A frame's pose.
-- @treturn[1] {number,...} 4×4, row-major, camera to world
-- @treturn[2] nil when it cannot be read or is no rigid motion
-- @treturn[2] string message
function M.read_pose(path)
  local p, message = read_numbers(path, 16)
  if not p then return nil, message end
  local error_sum = 0
  for i = 0, 2 do
    for j = 0, 2 do
      local dot = p[i * 4 + 1] * p[j * 4 + 1] + p[i * 4 + 2] * p[j * 4 + 2] + p[i * 4 + 3] * p[j * 4 + 3]
      error_sum = error_sum + math.abs(dot - (i == j and 1 or 0))
    end
  end
  if error_sum > 0.01 then return nil, path .. ": the pose is no rotation and shift" end
  return p
end

--- From one camera's coordinates to another's: inverse(to)·from.
-- @tparam {number,...} from pose, 4×4
-- @tparam {number,...} to pose
-- @treturn {number,...} 3×4, row-major
function M.motion(from, to)
  local m = {}
  for i = 1, 3 do
    for j = 1, 4 do
      local sum = 0
      for k = 1, 3 do
        local v = from[(k - 1) * 4 + j] - (j == 4 and to[k * 4] or 0)
        sum = sum + to[(k - 1) * 4 + i] * v -- the inverse of a rotation is its transpose
      end
      m[(i - 1) * 4 + j] = sum
    end
  end
  return m
end

--- Fuse a frame with its neighbours.
-- @tparam {Tensor,...} frames depth maps in metres
-- @tparam {table,...} poses of the frames
-- @tparam integer which the frame whose view is wanted
-- @tparam table o `camera`: {fx, fy, cx, cy}; `support`: fewest readings that must agree
-- @treturn Tensor H×W in metres, 0 = not known
-- @treturn Tensor H×W, how many readings agree
function M.fuse(frames, poses, which, o)
  local own = frames[which]
  local stack = core.empty(math.max(1, #frames - 1), table.unpack(own:size()))
  if #frames == 1 then stack:zero() end
  local place = 0
  for i, frame in ipairs(frames) do
    if i ~= which then
      place = place + 1
      vision.reproject(frame, {camera = o.camera, motion = M.motion(poses[i], poses[which]), out = stack[place]})
    end
  end
  return vision.fuse(stack, own, {support = o.support})
end

return M

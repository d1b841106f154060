--- Super-pixels, hole filling and depth fusion.
--
-- Images are C×H×W or H×W tensors.
-- @module cglow.image.vision
local core = require "cglow.core"
local check = require "cglow.util.check"
local options = require "cglow.util.options"

local kernel <const> = core.vision

local M = {}

local SLIC = {
  segments = {type = "integer", default = 250, min = 1, max = 1 << 20},
  compactness = {type = "number", default = 10, above = 0, max = 1e6},
  iterations = {type = "integer", default = 10, min = 1, max = 1000},
}

--- Super-pixels by SLIC (Achanta et al., PAMI 2012).
-- k-means in CIE L*a*b* and place from a regular grid; scraps below a quarter of
-- the usual size join a neighbour. The same image always gives the same labels.
-- @tparam Tensor image 3×H×W, sRGB in [0, 1]; 1 or 2 channels are compared as they are (times 100)
-- @tparam[opt] table opts `segments` = 250: how many are wanted; `compactness` = 10:
-- weight of place against colour (L* has a range of 100); `iterations` = 10
-- @treturn Tensor H×W, labels from 1 on, each one a 4-connected region
-- @treturn integer how many labels there are
function M.slic(image, opts)
  options.arg("vision.slic", 1, "image", image, "tensor")
  local o = options.check("vision.slic", opts, SLIC)
  return check.call("vision.slic", kernel.slic, image, o.segments, o.compactness, o.iterations)
end

--- Fill holes from the rim inwards, each pixel with the median of the known
-- ones around it.
-- @tparam Tensor image C×H×W or H×W; not changed
-- @tparam Tensor valid H×W, 0 where there is a hole; one pixel at least must be valid
-- @tparam[opt] table opts `radius` = 2: the median is over a square of side 2·radius + 1
-- @treturn Tensor a filled copy
function M.fill_median(image, valid, opts)
  options.arg("vision.fill_median", 1, "image", image, "tensor")
  options.arg("vision.fill_median", 2, "valid", valid, "tensor")
  local o = options.check("vision.fill_median", opts, {radius = {type = "integer", default = 2, min = 1, max = 32}})
  return check.call("vision.fill_median", kernel.fill_median, image:clone(), valid, o.radius)
end

local DIFFUSION = {
  tolerance = {type = "number", default = 1e-5, above = 0, max = 1e6},
  sweeps = {type = "integer", default = 2000, min = 1, max = 1 << 20},
}

--- Fill holes by diffusion from the rim: every hole pixel becomes the mean of
-- its four neighbours (the discrete Laplace equation, by over-relaxation).
-- @tparam Tensor image C×H×W or H×W; not changed
-- @tparam Tensor valid H×W, 0 where there is a hole; one pixel at least must be valid
-- @tparam[opt] table opts `tolerance` = 1e-5: largest correction of a last sweep;
-- `sweeps` = 2000: the most that are made
-- @treturn Tensor a filled copy
-- @treturn integer sweeps that were made
function M.fill_diffusion(image, valid, opts)
  options.arg("vision.fill_diffusion", 1, "image", image, "tensor")
  options.arg("vision.fill_diffusion", 2, "valid", valid, "tensor")
  local o = options.check("vision.fill_diffusion", opts, DIFFUSION)
  return check.call("vision.fill_diffusion", kernel.fill_diffusion, image:clone(), valid, o.tolerance, o.sweeps)
end

local REPROJECT = {
  camera = {type = "table", required = true, length = 4, each = {type = "number"}},
  motion = {type = "table", required = true, length = 12, each = {type = "number"}},
  jump = {type = "number", default = 0.05, above = 0, max = 1e6},
  out = {type = "tensor"},
}

--- A depth map as another camera would see it: each reading becomes a point,
-- is moved and projected; where several meet, the nearest one stays.
-- @tparam Tensor depth H×W in metres, 0 = no reading
-- @tparam table opts `camera`: {fx, fy, cx, cy} in pixels, the first pixel's centre
-- being (0, 0); `motion`: 3×4 numbers, row-major, from this camera's coordinates to the
-- other's; `jump` = 0.05: readings at a step of more than this times the depth are left
-- out; `out`: tensor of the same shape to write to
-- @treturn Tensor H×W in metres, 0 = nothing seen
function M.reproject(depth, opts)
  options.arg("vision.reproject", 1, "depth", depth, "tensor")
  local o = options.check("vision.reproject", opts, REPROJECT)
  if o.out then check.shape("vision.reproject", "option 'out'", o.out, depth:size()) end
  return check.call("vision.reproject", kernel.reproject, depth, o.camera, o.motion, o.jump,
    o.out or core.empty(depth:size()))
end

local FUSE = {
  tolerance = {type = "number", default = 0.006, above = 0, max = 1e6},
  support = {type = "integer", default = 3, min = 1, max = 1 << 20},
}

--- One depth from many readings along each pixel's ray: the mean of the largest
-- group that agrees to within 1 cm + tolerance·z² (z in metres); the frame's own
-- reading wins over a larger group behind it when a third as many agree with it.
-- @tparam Tensor stack V×H×W, readings of other frames from `reproject`
-- @tparam Tensor own H×W, the frame's own readings; 0 = none, in both
-- @tparam[opt] table opts `tolerance` = 0.006 per metre; `support` = 3: fewest
-- readings that must agree
-- @treturn Tensor H×W in metres, 0 where too few readings agree
-- @treturn Tensor H×W, how many readings agree (0 there)
function M.fuse(stack, own, opts)
  options.arg("vision.fuse", 1, "stack", stack, "tensor")
  options.arg("vision.fuse", 2, "own", own, "tensor")
  local o = options.check("vision.fuse", opts, FUSE)
  return check.call("vision.fuse", kernel.fuse, stack, own, o.tolerance, o.support)
end

return M

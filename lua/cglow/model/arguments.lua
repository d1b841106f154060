--- What the methods of a model are given: x, y, latents and options, checked.
-- Errors point at the caller of the public function.
-- @module cglow.model.arguments
local check = require "cglow.util.check"
local core = require "cglow.core"
local encoder = require "cglow.model.encoder"
local options = require "cglow.util.options"
local sample = require "cglow.model.sample"

local M = {}

-- With an encoder x may have other sides than the model was made for.
local function check_sides(self, fname, x, up)
  local config, unit = self.config, self.encoder.unit
  check.shape(fname, "x", x, { "N", config.x[1], "H", "W" }, 2 + up)
  local h, w = encoder.y_sides(config, x:size(3), x:size(4))
  local step = 1 << config.levels
  if x:size(3) % unit ~= 0 or x:size(4) % unit ~= 0 or h % step ~= 0 or w % step ~= 0
    or (x:size(3) - h) % (2 * step) ~= 0 or (x:size(4) - w) % (2 * step) ~= 0 then
    local size = ("%dx%d"):format(x:size(3), x:size(4))
    error(("%s: x must have sides that are multiples of %d and leave y sides that are multiples of %d, got %s"):format(
      fname, unit, step, size), 4 + up)
  end
end

--- Is x one that the model takes? Raises when it is not.
-- @tparam Model self
-- @string fname the public function
-- @param x
-- @int[opt=0] up how many functions lie between the public one and this call
function M.x(self, fname, x, up)
  if self.encoder then
    check_sides(self, fname, x, up or 0)
  elseif self.config.x then
    check.shape(fname, "x", x, { "N", table.unpack(self.config.x) }, 1 + (up or 0))
  elseif x ~= nil then
    error(("%s: x must be nil in plain Glow, got %s"):format(fname, options.show(x)), 3 + (up or 0))
  end
end

--- The shape {C, H, W} of y for this x.
-- @tparam Model self
-- @tparam Tensor x
-- @treturn {int,...}
function M.y_shape(self, x)
  if not self.encoder then return self.config.y end
  return { self.config.y[1], encoder.y_sides(self.config, x:size(3), x:size(4)) }
end

--- Are x and y a batch for the model? Raises when they are not.
-- @tparam Model self
-- @string fname the public function
-- @param x
-- @param y
function M.batch(self, fname, x, y)
  if not self.encoder then check.shape(fname, "y", y, { "N", table.unpack(self.config.y) }, 1) end
  M.x(self, fname, x, 1)
  if self.encoder then check.shape(fname, "y", y, { "N", table.unpack(M.y_shape(self, x)) }, 1) end
  if x and x:size(1) ~= y:size(1) then
    error(("%s: x and y of equally many samples expected, got %d and %d"):format(fname, x:size(1), y:size(1)), 3)
  end
end

--- Are these latents of the model for x? Raises when they are not.
-- @tparam Model self
-- @string fname the public function
-- @param x
-- @param latents
function M.latents(self, fname, x, latents)
  options.arg(fname, 2, "latents", latents, "table", 1)
  M.x(self, fname, x, 1)
  local first = core.type(latents[1]) == "cglow.Tensor" and latents[1]
  local n = x and x:size(1) or first and first:size(1) or "N"
  sample.check_latents(fname, "latents", latents, n, sample.latent_shapes(self, x), 1)
end

local LOSS = {
  cell_width = { type = "number", default = 1, min = 1e-30, max = 1e30 },
  head = { type = "tensor" },
  head_weight = { type = "number", min = 0, max = 1e9 },
  done = { type = "function" },
}

--- The options of `Model:loss_and_grad`. Raises when they do not fit.
-- @tparam Model self
-- @tparam Tensor y
-- @param opts
-- @treturn table the options with defaults
function M.loss(self, y, opts)
  local o = options.check("Model:loss_and_grad", opts, LOSS, 1)
  if not o.head then return o end
  local head = self.config.head
  if not head then
    error("Model:loss_and_grad: option 'head' must be absent, as the model was made without one, got a tensor", 3)
  end
  local shape = { y:size(1), y:size(3), y:size(4) }
  if head.loss == "squared_error" then table.insert(shape, 2, head.outputs) end
  check.shape("Model:loss_and_grad", "option 'head'", o.head, shape, 1)
  o.head_weight = o.head_weight or head.weight
  return o
end

return M

--- Raises when an argument is no tensor of the shape of another.
-- @module cglow.metrics.same_shape
local options = require "cglow.util.options"

--- To be called by the public function itself, or with `up` by what it calls.
-- @function same_shape
-- @string fname of the public function
-- @int index of the argument
-- @string name of the argument
-- @param t what came
-- @tparam Tensor like
-- @int[opt=0] up calls between the public function and this one
return function(fname, index, name, t, like, up)
  options.arg(fname, index, name, t, "tensor", 1 + (up or 0))
  local got, want = table.concat(t:size(), "x"), table.concat(like:size(), "x")
  if got ~= want then
    error(("%s: %s must be a tensor of shape %s, got %s"):format(fname, name, want, got), 3 + (up or 0))
  end
end

--- Binary segmentation: a photograph to the mask of what is on it.
-- Weizmann horses by default as Borenstein & Ullman published them, with --data;
-- without, the embedded samples in the same layout.
-- @module cglow.tasks.binary_segmentation
local horses = require "cglow.data.horses"

return require("cglow.tasks.define").define {
  name = "binary_segmentation",
  kind = "mask",
  title = "Binary segmentation: c-Glow learns the masks of photographs.",
  predicts = "Write a mask for each photograph, in its own size.",
  y = 3, -- equal channels, as the paper has them
  recipe = {
    ["augment.mirror"] = true, ["augment.shift"] = 0.06, ["augment.zoom"] = 0.1, ["augment.stretch"] = 0.05,
    ["augment.gain"] = 0.1, ["augment.tint"] = 0.05,
  },
  data = function(dir, o) return horses(dir, {split = o.split, size = o.size}) end,
}

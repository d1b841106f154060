--- Recipes: settings that belong together, by name. `--recipe NAME` chooses one; a task may
-- have settings of its own for the recipe "encoder".
-- @module cglow.tasks.recipes
return {
  -- The model and the training that Lu & Huang (2020) published.
  paper = {},

  -- One encoder of x for all layers, a head beside it, and what is usual in training now.
  encoder = {
    ["encoder.channels"] = {32, 64, 96, 128, 128}, ["coupling.width"] = 64, ["head.weight"] = 0.1,
    ["head.residual"] = true, batch = 8, warmup = 200, fall = 0.6, ema = 0.998,
    ["optimizer.lr"] = 2e-3, ["optimizer.clip_value"] = 0, ["optimizer.clip_norm"] = 1,
  },
}

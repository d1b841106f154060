--- Data sets and transforms.
--
-- `cglow.data.horses`, `lfw`, `bsds`, `seven_scenes` and `celeba` read the
-- published sets of the paper's five tasks, and the embedded sample sets, which
-- have the same layouts. `cglow.data.pairs` reads any folder of image pairs, and
-- `cglow.data.Dataset` makes a set of a function.
--
-- @module cglow.data
local dataset = require "cglow.data.dataset"
local files = require "cglow.data.files"
local notice = require "cglow.util.notice"

local M = {
  Dataset = dataset.new,
  is_dataset = dataset.is_dataset,
  cache_dir = files.cache_dir,
  transform = require "cglow.data.transform",
  sample_dir = require "cglow.data.sample_dir",
}

-- Readers, loaded when first used.
local readers = {horses = true, lfw = true, bsds = true, seven_scenes = true, celeba = true, pairs = true}

--- Called with a line of text about anything that a person should know but that
-- stops nothing: a black photo, a damaged cache, a model that has never seen the like of an
-- x. By default it goes to stderr.
-- Assign a function of your own to catch it.
-- @function notify

return setmetatable(M, {
  __index = function(t, key)
    if key == "notify" then return notice.notify end
    if not readers[key] then return nil end
    local reader = require("cglow.data." .. key)
    rawset(t, key, reader)
    return reader
  end,
  __newindex = function(t, key, value)
    if key == "notify" then notice.notify = value else rawset(t, key, value) end
  end,
})

--- Which files of a folder are taken, and what is said of the others.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local data = require "cglow.data"
local files = require "cglow.data.files"
local image = require "cglow.image"
local sets = require "spec.support.sets"

local dir <const> = scratch.each(before_each, after_each)

local picture = core.full(3, 4, 6, 0.5)

describe("the pictures of a folder", function()
  it("are told by their names in any case, and where those say nothing, by their contents", function()
    local png, jpeg, pnm = image.encode(picture, "png"), image.encode(picture, "jpeg"), image.encode(picture, "ppm")
    for name, bytes in pairs {
      ["a.JpG"] = jpeg, ["b.jfif"] = jpeg, ["c.jpe"] = jpeg, ["d.pnm"] = pnm, ["e.PNG"] = png, ["f"] = png,
      ["g.picture"] = jpeg, ["h.x"] = pnm,
    } do sets.write(dir .. "/" .. name, bytes) end
    local notes, names = sets.notes(function() return files.images(dir) end)
    assert.same({}, notes)
    assert.same({"a.JpG", "b.jfif", "c.jpe", "d.pnm", "e.PNG", "f", "g.picture", "h.x"}, names)
  end)

  it("leave the rest, which is counted and named once", function()
    sets.save(dir .. "/a.png", picture)
    for _, name in ipairs {"b.bmp", "c.gif", "Thumbs.db", "d", "train.txt", "list.csv", ".hidden"} do
      sets.write(dir .. "/" .. name, "BM something else")
    end
    sets.write(dir .. "/folder/x.png", "")
    local notes, names = sets.notes(function()
      files.images(dir)
      return files.images(dir)
    end)
    assert.same({"a.png"}, names)
    assert.same({("4 files in %s are no pictures that can be read and are passed over: Thumbs.db, b.bmp, c.gif, …")
      :format(dir)}, notes)
  end)

  it("may not share a name", function()
    sets.save(dir .. "/x/j.png", picture)
    sets.save(dir .. "/y/j.png", picture)
    assert(data.pairs(dir))
    sets.save(dir .. "/x/j.jpg", picture)
    assert.equal(("pairs: %s/x has j.jpg and j.png: which of them is meant by 'j'?"):format(dir),
      select(2, data.pairs(dir)))
    os.remove(dir .. "/x/j.jpg")
    os.rename(dir .. "/y/j.png", dir .. "/y/j.PNG")
    sets.save(dir .. "/y/j.jpg", picture)
    assert.matches("y has j%.PNG and j%.jpg", select(2, data.pairs(dir)))
  end)

  it("are found by the names of a list, with whatever extension", function()
    for _, name in ipairs {"rgb/h.JPG", "figure_ground/h.png"} do
      sets.write(dir .. "/" .. name, image.encode(core.ones(1, 4, 4), name:find "JPG" and "jpeg" or "png"))
    end
    sets.write(dir .. "/train.txt", "\xef\xbb\xbfh.jpg\r\n")
    local ds = assert(data.horses(dir))
    assert.equal("h", ds[1].name)
    sets.save(dir .. "/figure_ground/h.pgm", core.ones(1, 4, 4))
    assert.matches("figure_ground has h.* and h.*: which of them is meant by 'h.jpg'", select(2, data.horses(dir)))
    sets.write(dir .. "/train.txt", "\xff\xfeh\0.\0j\0p\0g\0\r\0\n\0")
    assert.matches("train.txt: this is UTF%-16", select(2, data.horses(dir)))
    sets.write(dir .. "/train.txt", "h.png\n") -- named whole
    assert.matches("rgb", (data.horses(dir) or {files = {}}).files[1])
  end)

  it("of one kind without partner, or with neither ending, are counted", function()
    for _, name in ipairs {"x/a.png", "x/b.png", "y/a.png", "y/b.png", "y/c.png"} do
      sets.save(dir .. "/" .. name, picture)
    end
    local notes = sets.notes(function() assert(data.pairs(dir)) end)
    assert.same({("1 images (y) in %s have no partner (x) and are passed over: c"):format(dir)}, notes)
    for _, name in ipairs {"e/a_x.png", "e/a_y.png", "e/c.png"} do sets.save(dir .. "/" .. name, picture) end
    notes = sets.notes(function() assert(data.pairs(dir .. "/e")) end)
    assert.same({("1 pictures in %s/e end in neither _x nor _y and are passed over: c.png"):format(dir)}, notes)
  end)
end)

describe("a split of one's own making", function()
  it("is said with its numbers", function()
    for i = 1, 20 do
      for _, folder in ipairs {"x", "y", "rgb", "figure_ground"} do
        sets.save(("%s/%s/%06d.png"):format(dir, folder, i), core.ones(1, 4, 4))
      end
    end
    local function note(f) return sets.notes(function() assert(f()) assert(f()) end) end
    assert.same({dir .. " has no train.txt: of the 20 pairs 16 are taken for train, 4 for valid, by their names"},
      note(function() return data.pairs(dir, {split = "train"}) end))
    assert.same({dir .. " has no train.txt, valid.txt and test.txt: of its 20 photos 15 are taken for train, "
      .. "2 for valid, 3 for test, by their names"}, note(function() return data.horses(dir) end))
    assert.same({dir .. "/rgb: no list_eval_partition.txt or .csv was found; of its 20 photos 15 are taken for train, "
      .. "1 for valid, 4 for test, by their names"}, note(function() return data.celeba(dir .. "/rgb") end))
  end)
end)

describe("CelebA's list", function()
  local function photos(extension, n)
    for i = 1, n do
      sets.write(("%s/%06d.%s"):format(dir, i, extension), image.encode(core.full(3, 218, 178, 0.5), "png"))
    end
  end

  it("may be the .csv of copies, and names of photos may end otherwise", function()
    photos("png", 5)
    sets.write(dir .. "/list_eval_partition.csv",
      "\xef\xbb\xbfimage_id,partition\n000001.jpg,0\n000002.jpg,0\n000003.jpg,1\n000004.jpg,2\n000009.jpg,2\n")
    local notes = sets.notes(function()
      for split, count in pairs {train = 2, valid = 1, test = 1} do
        assert.equal(count, #assert(data.celeba(dir, {split = split})))
      end
      assert.equal("000004", data.celeba(dir, {split = "test"})[1].name)
    end)
    assert.same({("%s/list_eval_partition.csv lists 5 photos, of which 4 are here; 1 photos here are in no list "
      .. "and are passed over"):format(dir)}, notes)
  end)

  it("names each photo once, and says nothing of strangers where there are none", function()
    photos("png", 2)
    sets.write(dir .. "/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 0\n000003.jpg 0\n")
    assert.same({dir .. "/list_eval_partition.txt lists 3 photos, of which 2 are here"},
      (sets.notes(function() assert.equal(2, #assert(data.celeba(dir, {split = "train"}))) end)))
    sets.write(dir .. "/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 0\n000001.png 1\n")
    assert.matches("list_eval_partition.txt: 000001.png is listed twice", select(2, data.celeba(dir)))
  end)

  it("is of photos that are aligned: others need 'crop'", function()
    for i = 1, 5 do sets.save(("%s/%06d.png"):format(dir, i), core.full(3, 256, 256, 0.5)) end
    local ds = assert(data.celeba(dir))
    assert.matches("is 256x256 .*, not 218x178 as the aligned photos are: .* must be said by 'crop'",
      select(2, ds:get(1)))
    assert(assert(data.celeba(dir, {crop = 200})):get(1))
  end)
end)

it("lists hold a name in each line, spaces and all, with any line ends", function()
  for _, ends in ipairs {"\n", "\r\n", "\r"} do
    sets.write(dir .. "/list.txt", table.concat({"\xef\xbb\xbfa b (1).png", "", "  c\t", "ä.jpg "}, ends))
    assert.same({"a b (1).png", "c", "ä.jpg"}, files.read_names(dir .. "/list.txt"))
    sets.write(dir .. "/list.txt", table.concat({"1 2", "", "3 4", ""}, ends))
    assert.same({{"1", "2"}, {"3", "4"}}, files.read_list(dir .. "/list.txt", 2))
  end
  sets.write(dir .. "/list.txt", "a\r\nb\0\r\n")
  assert.same({nil, dir .. "/list.txt:2: that is no file name"}, {files.read_names(dir .. "/list.txt")})
  for _, half in ipairs {"x", "y"} do
    for _, name in ipairs {"dog", "cat", "cow"} do sets.save(("%s/%s/my %s.png"):format(dir, half, name), picture) end
  end
  sets.write(dir .. "/held out.txt", "my cat.png\nmy dog\n")
  local ds = assert(data.pairs(dir, {split = "valid", valid = dir .. "/held out.txt"}))
  assert.same({"my cat", "my dog"}, {ds[1].name, ds[2].name})
end)

it("names are sorted by their bytes in every locale", function()
  local old = os.setlocale(nil)
  local function names()
    local list = {"B", "a", "Z", "ä", "_"}
    return table.concat(files.sort(list), " ")
  end
  local plain = names()
  assert.equal("B Z _ a ä", plain)
  local there = os.setlocale "de_DE.UTF-8" or os.setlocale "en_US.UTF-8"
  local got = names()
  os.setlocale(old)
  if not there then return pending "no locale with another order is installed" end
  assert.equal(plain, got)
end)

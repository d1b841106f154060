-- Names in a folder, and what comes of one that cannot be read.
local folder_names = require "cglow.util.folder_names"
local lfs = require "lfs"

describe("the names in a folder", function()
  it("are all but the folder itself and the one above", function()
    local directory = os.tmpname()
    os.remove(directory)
    assert(lfs.mkdir(directory))
    for _, name in ipairs {"b", "a", ".hidden"} do assert(io.open(directory .. "/" .. name, "w")):close() end
    local names = assert(folder_names(directory))
    table.sort(names)
    assert.same({".hidden", "a", "b"}, names)
    for _, name in ipairs(names) do os.remove(directory .. "/" .. name) end
    assert(lfs.rmdir(directory))
  end)

  it("of one that is not there, or is none, are nil and a message, no error", function()
    for _, wrong in ipairs {"/nonexistent/folder", "/dev/null"} do
      local names, message = folder_names(wrong)
      assert.is_nil(names)
      assert.is_truthy(message:find(wrong, 1, true) or message:find("directory", 1, true), message)
    end
  end)
end)

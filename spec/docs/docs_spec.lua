-- Every public name is documented, and LDoc has nothing to complain about.
local cglow = require "cglow"
local core = require "cglow.core"
local comments = require "cglow.help.comments"
local toy = require "spec.support.toy"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function files(pattern)
  local pipe <close> = assert(io.popen("ls " .. pattern))
  local list = {}
  for path in pipe:lines() do list[#list + 1] = path end
  return list
end

-- Names that are documented in some files: "resize", "Tensor:narrow".
local function documented(paths, language)
  local names = {}
  for _, path in ipairs(paths) do
    for _, entry in ipairs(comments.read(read(path), language)) do
      names[entry.name] = path
      names[entry.name:gsub("^%w+%.", "")] = path
    end
  end
  return names
end

local C = documented(files "csrc/lua/*.c", "c")

local function missing(exports, names, prefix)
  local list = {}
  for name in pairs(exports) do
    if type(name) == "string" and not name:match "^_" and not names[(prefix or "") .. name] then
      list[#list + 1] = (prefix or "") .. name
    end
  end
  table.sort(list)
  return list
end

-- The functions of a luaL_Reg table of a C file.
local function registered(path, list)
  local body = assert(read(path):match("luaL_Reg " .. list .. "%[%]%s*=%s*(%b{})"), path .. " has no " .. list)
  local names = {}
  for name in body:gmatch '{"([%w_]+)"' do names[name] = true end
  return names
end

local function keys(t)
  local found = {}
  for name, value in pairs(t) do
    if type(value) == "function" or type(value) == "table" then found[name] = true end
  end
  return found
end

describe("documentation of", function()
  it("cglow", function()
    local own = documented({"lua/cglow/init.lua"}, "lua")
    local rest, loaded = {}, {}
    for name, module in pairs(package.loaded) do loaded[module] = name:match "^cglow%." ~= nil end
    for name, value in pairs(cglow) do
      -- modules have comments of their own; see below
      if not loaded[value] and name ~= "flow" then rest[name] = true end
    end
    for name in pairs(own) do C[name] = C[name] or own[name] end
    assert.same({}, missing(rest, C))
  end)

  -- Every module; that of a whole room may also give functions of the room's other files.
  for _, path in ipairs(files "$(find lua/cglow -name '*.lua' -not -name program.lua | LC_ALL=C sort)") do
    local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
    local loaded = name ~= "cglow" and require(name)
    local task = type(loaded) == "table" and loaded.read_input -- its functions are those that a definition has
    if type(loaded) == "table" and not getmetatable(loaded) and not task then
      it(name, function()
        local room = path:match "^(.*/)init%.lua$"
        local short = {}
        for full in pairs(documented(room and files(room .. "*.lua") or {path}, "lua")) do
          short[full:match "[^.:]+$"] = path
        end
        local functions = {}
        for key, value in pairs(loaded) do if type(value) == "function" then functions[key] = true end end
        assert.same({}, missing(functions, short))
      end)
    end
  end

  it("cglow.data's readers", function()
    for _, name in ipairs {"horses", "lfw", "bsds", "seven_scenes", "celeba", "pairs", "sample_dir"} do
      assert.is_truthy(documented({("lua/cglow/data/%s.lua"):format(name)}, "lua")[name], name)
      assert.is_function(cglow.data[name])
    end
  end)

  it("methods of Lua classes", function()
    local layer = {forward = true, backward = true, parameters = true} -- what cglow.nn says of every layer
    local seen, bare = 0, {}
    for _, path in ipairs(files "$(find lua/cglow -name '*.lua' | LC_ALL=C sort)") do
      local short = {} -- of two classes with the same methods one will do
      for name in pairs(documented({path}, "lua")) do short[name:match "[^.:]+$"] = true end
      for method in read(path):gmatch "\nfunction %u%w*:([%w_]+)" do
        seen = seen + 1
        if not (method:match "^__" or layer[method] or short[method]) then bare[#bare + 1] = path .. ": " .. method end
      end
    end
    assert.same({}, bare)
    assert.is_true(seen > 50)
  end)

  it("methods of C objects", function()
    local lists = {
      {"Tensor", "tensor_type", "methods"}, {"Tensor", "tensor_shape", "tensor_shape_methods"},
      {"Tensor", "tensor_math", "tensor_math_methods"}, {"Tensor", "tensor_reduce", "tensor_reduce_methods"},
      {"Tensor", "tensor_matmul", "tensor_matmul_methods"}, {"Tensor", "tensor_bytes", "tensor_bytes_methods"},
      {"Rng", "rng", "methods"}, {"Param", "param", "methods"}, {"Net", "net", "methods"},
      {"Prior", "prior", "prior_methods"},
    }
    for _, case in ipairs(lists) do
      local class, file, list = table.unpack(case)
      assert.same({}, missing(registered(("csrc/lua/%s.c"):format(file), list), C, class .. ":"), file)
    end
  end)

  it("methods of flow layers", function()
    -- forward, inverse, backward: the interface at the head of csrc/lua/flow_methods.c
    for list, class in pairs {preparing = "Flow", recomputing = "Coupling"} do
      assert.same({}, missing(registered("csrc/lua/flow_methods.c", list), C, class .. ":"), class)
    end
    for list, class in pairs {actnorm_methods = "ActNorm", invconv_methods = "InvConv", split_methods = "Split"} do
      assert.same({}, missing(registered("csrc/lua/flow_layers.c", list), C, class .. ":"), class)
    end
  end)

  it("functions of C", function()
    assert.same({}, missing(keys(core.flow), C))
    assert.same({}, missing(keys(core.system), C))
    local file = {}
    for name in pairs(keys(core.file)) do file["file." .. name] = true end
    assert.same({}, missing(file, documented(files "csrc/lua/file*.c", "c")))
  end)
end)

describe("LDoc", function()
  it("reads all comments without a warning", function()
    assert.is_true(os.execute "command -v ldoc >/dev/null", "ldoc is not installed (Debian: lua-ldoc)")
    local folder, remove = toy.folder()
    finally(remove)
    local pipe <close> = assert(io.popen(("ldoc --fatalwarnings -q -c .ldoc.ld -d '%s' . 2>&1 >/dev/null; echo $?")
      :format(folder)))
    assert.equal("0\n", pipe:read "a")
    for _, page in ipairs {"index.html", "classes/cglow.Model.html", "modules/cglow.Tensor.html",
      "modules/cglow.flow.html", "topics/README.md.html"} do
      assert.matches("</html>", read(folder .. "/" .. page))
    end
  end)

  it("gets pages whose code stands in one line of the source: LDoc reads a line at a time", function()
    local config, broken = {}, {}
    assert(load(read ".ldoc.ld", ".ldoc.ld", "t", config))()
    for _, path in ipairs(config.topics) do
      local fenced = false
      for line in read(path):gmatch "[^\n]*" do
        if line:match "^```" then fenced = not fenced end
        if not fenced and not line:match "^    " and select(2, line:gsub("`", "")) % 2 == 1
          and not line:match "^```" then
          broken[#broken + 1] = path .. ": " .. line
        end
      end
    end
    assert.same({}, broken)
  end)

  it("gets pages that fit a phone, with plain titles in their contents", function()
    local finished = dofile "spec/tools/doc_pages.lua"
    assert.equal('<head>\n    <meta name="viewport" content="width=device-width, initial-scale=1"/>\n<title/></head>'
      .. '<li><a href="#A">At a b </a></li><p>`c`</p>',
      finished '<head>\n<title/></head><li><a href="#A">At `a b` </a></li><p>`c`</p>')
  end)

  it("gets pages whose code is coloured as Lua where it is Lua", function()
    local finished = dofile "spec/tools/doc_pages.lua"
    local function block(code) return ("<pre class=\"example\">%s</pre>"):format(code) end
    for _, lua in ipairs {
      'x = <span class="number">1</span> <span class="comment">-- one</span>',
      '1 &lt; 2 <span class="keyword">and</span> f {}',
      '&gt; a = <span class="number">1</span>\n1',
    } do
      assert.equal(block(lua), finished(block(lua)))
    end
    assert.equal(block 'cglow <a href="x">pairs</a> train --x photos &lt; and', finished(block(
      'cglow <a href="x"><span class="global">pairs</span></a> train <span class="comment">--x photos</span> &lt; '
      .. '<span class="keyword">and</span>')))
  end)

  it("gets HTML from the Markdown that the documentation uses", function()
    local html = dofile "spec/tools/markdown.lua"
    for _, case in ipairs {
      {"# A `b`", "<h1>A <code>b</code></h1>"},
      {"one\ntwo\n\nthree", "<p>one\ntwo</p>\n<p>three</p>"},
      {"*a* **b** `x*y*z < 1`", "<p><em>a</em> <strong>b</strong> <code>x*y*z &lt; 1</code></p>"},
      {"* a\n  b\n* c", "<ul><li>a\n  b</li>\n<li>c</li></ul>"},
      {"![a, b](data/c.png)", '<p><img src="../../../data/c.png" alt="a, b"/></p>'},
      {"    a < b\n\n    c", "<pre>a &lt; b\n\nc</pre>"},
      {"```lua\n# a\n```\nb", "<pre># a</pre>\n<p>b</p>"},
      {"[a](http://b/c) [d](examples/own.md) [e](csrc/math/conv.h)",
        '<p><a href="http://b/c">a</a> <a href="own.md.html">d</a> <a href="../../../csrc/math/conv.h">e</a></p>'},
      {"| a | b |\n|---|---|\n| p(y\\|x) | `c` |",
        '<table class="function_list"><tr><th>a</th><th>b</th></tr>\n'
          .. "<tr><td>p(y|x)</td><td><code>c</code></td></tr></table>"},
    } do
      assert.equal(case[2] .. "\n", html(case[1]))
    end
  end)
end)

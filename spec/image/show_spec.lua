-- Pictures in the terminal: cglow.show.
local cglow = require "cglow"
local text = cglow.show.text

local BLOCK = "▀"

local function lines(s)
  local list = {}
  for line in s:gmatch "([^\n]*)\n" do list[#list + 1] = line end
  return list
end

-- What lua prints, run with these variables of the environment and no terminal.
local function output_of(code, environment)
  local command = ("%s LUA_PATH=%q LUA_CPATH=%q %s -l cglow -e %q 2>&1"):format(environment or "", package.path,
    package.cpath, arg[-1] or "lua5.4", code)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

describe("cglow.show", function()
  it("draws two rows of pixels in one line of characters, black as space, white as @", function()
    local t = cglow.tensor {{0, 1, 0.55}, {0, 1, 0.55}, {1, 0.1, 0.25}, {0.1, 1, 0.25}}
    assert.same({" @+", "++:"}, lines(text(t)))
  end)

  it("draws the last row of an odd number alone", function()
    assert.same({" @", "@ "}, lines(text(cglow.tensor {{0, 1}, {0, 1}, {1, 0}})))
    assert.equal("\27[38;2;255;255;255m\27[49m" .. BLOCK .. "\27[0m\n", text(cglow.ones(1, 1, 1), {colour = "true"}))
  end)

  it("draws half blocks in true colour, repeating no colour", function()
    local t = cglow.zeros(3, 2, 2)
    t[1][1]:fill(1) -- upper row red
    t[3][2]:fill(0.5) -- lower row dark blue
    assert.equal("\27[38;2;255;0;0m\27[48;2;0;0;128m" .. BLOCK .. BLOCK .. "\27[0m\n", text(t, {colour = "true"}))
  end)

  it("picks the nearest of xterm's 256 colours", function()
    -- level: expected index; cube levels are 0, 95, 135, 175, 215, 255
    for _, case in ipairs {
      {{255, 0, 0}, 196}, {{0, 95, 0}, 22}, {{0, 0, 114}, 17}, {{0, 0, 116}, 18}, {{215, 175, 135}, 180},
      {{8, 8, 8}, 232}, {{128, 128, 128}, 244}, {{0, 0, 0}, 16}, {{255, 255, 255}, 231},
    } do
      local rgb = case[1]
      local t = cglow.tensor(rgb):reshape(3, 1, 1):mul(1 / 255)
      local expected = ("\27[38;5;%dm\27[49m%s\27[0m\n"):format(case[2], BLOCK)
      assert.equal(expected, text(t, {colour = "256"}), table.concat(rgb, ","))
    end
  end)

  it("clamps to min and max, and shows NaN as black", function()
    local t = cglow.tensor {{-3, 0.55, 9, 0 / 0}}
    assert.same({" +@ "}, lines(text(t)))
    assert.same({" =@ "}, lines(text(t, {min = -3, max = 5})))
    assert.equal("cglow.Tensor 1x4", tostring(t):match "^[^ ]+ [^ ]+", "t is unchanged")
    assert.equal(9, t[1][3])
  end)

  it("averages a wide picture down to the width, and enlarges by scale", function()
    assert.same({"@  @"}, lines(text(cglow.tensor {{1, 1, 0, 0, 0, 0, 1, 1}, {1, 1, 0, 0, 0, 0, 1, 1}}, {width = 4})))
    assert.same({"@@  "}, lines(text(cglow.tensor {{1, 0}}, {scale = 2})))
  end)

  it("never exceeds the width", function()
    for _, line in ipairs(lines(text(cglow.rand(3, 20, 300), {width = 37}))) do assert.equal(37, #line) end
    for _, line in ipairs(lines(text(cglow.rand(3, 20, 300)))) do assert.equal(80, #line) end
  end)

  it("lays out batches and many channels as a grid", function()
    for _, shape in ipairs {{4, 1, 6, 6}, {4, 3, 6, 6}, {4, 6, 6}, {2, 2, 6, 6}} do
      local drawn = lines(text(cglow.ones(shape)))
      assert.equal(8, #drawn) -- 2 images of 6 rows with gaps: 15 rows, two in a line
      assert.equal("@@@@@@", drawn[2]:match "@+")
    end
  end)

  it("prints without colour when standard output is no terminal", function()
    local code = "cglow.show(cglow.ones(2, 3))"
    assert.equal("@@@\n", output_of(code))
    assert.equal("@@@\n", output_of(code, "COLORTERM=truecolor TERM=xterm-256color"))
    assert.equal("\27[38;5;231m\27[48;5;231m▀▀▀\27[0m\n", output_of("cglow.show(cglow.ones(2, 3), {colour = '256'})"))
  end)

  it("refuses what is no picture", function()
    assert.has_error(function() cglow.show "x" end, "bad argument #1 to 'show': t must be a tensor, got 'x'")
    assert.has_error(function() text(cglow.ones(3)) end,
      "bad argument #1 to 'show.text': t must be a tensor of 2 to 4 dimensions, got 1")
    assert.has_error(function() text(cglow.ones(2, 2), {min = 1}) end,
      "show.text: option 'max' must be above min, which is 1, got 1")
    assert.error_matches(function() cglow.show(cglow.ones(2, 2), {color = "256"}) end,
      "show: unknown option 'color' %(did you mean 'colour'%?")
  end)
end)

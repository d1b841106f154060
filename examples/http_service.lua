#!/usr/bin/env lua5.4
--- A service of one's own: POST a picture, get the answer of a trained model as a PNG.
--
--     lua5.4 examples/http_service.lua runs/horses 8080 &
--     curl --data-binary @photo.jpg http://localhost:8080/ >mask.png
--
-- One request at a time, for use behind a web server of one's own. It wants luasocket.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local LARGEST = 20e6 -- bytes of a picture

-- The body of a request, or nil, the status and a message.
local function body_of(client)
  local method, length = (client:receive "*l" or ""):match "^(%u+) ", nil
  for line in function() return client:receive "*l" end do
    if line == "" then break end
    length = tonumber(line:lower():match "^content%-length:%s*(%d+)%s*$") or length
  end
  if method ~= "POST" then return nil, "405 Method Not Allowed", "POST a picture\n" end
  if not length or length > LARGEST then return nil, "413 Content Too Large", "no picture, or too large a one\n" end
  local body = client:receive(length)
  if body then return body end
  return nil, "400 Bad Request", "the picture was cut short\n"
end

local function answer(model, client)
  local body, status, text = body_of(client)
  if body then
    local said, message = model:predict(body)
    if said then return "200 OK", "image/png", model:png(said) end
    status, text = "422 Unprocessable Content", message .. "\n"
  end
  return status, "text/plain", text
end

if not arg[1] then return print "usage: http_service.lua RUN [PORT]" end
local model = assert(require("cglow").open(arg[1]))
local server = assert(require("socket").bind("localhost", tonumber(arg[2] or 8080)))
print(("%s\nhttp://localhost:%d"):format(model, select(2, server:getsockname())))
io.stdout:flush()
for client in function() return server:accept() end do
  client:settimeout(10)
  local status, kind, text = answer(model, client)
  client:send(("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(status,
    kind, #text, text))
  client:close()
end

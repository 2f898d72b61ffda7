-- What REST asks and is answered, beside the transcoder. That skips unknown fields, takes what is not quite JSON, repeats
-- what it does not understand (which may be a password), and knows no response_body. So it is done here.
--
-- Put before this text by filters.py:
--   TYPES    {message = {field = kind}}; kind is "string", "scalar" (whose values the transcoder checks), the name of a
--            message, "any" (which the transcoder checks as a whole), or "list" and one of these
--   REFUSAL  the JSON of an answer, with FIELD and MESSAGE to fill in
--   UNNAMED  {gRPC code = the JSON of an answer}, for errors that have no reason of ours
-- Metadata of the route:
--   body    kind of the request's body; nil: it has none
--   query   {field = true} for the parameters that the query may have (the transcoder lets them override the path)
--   path    {field = true} for those that stand in the path, and so not in the body
--   unwrap  whether the answer is its message's only field

local DEPTH_MAX = 32

local value
local in_path = {}  -- of the body that is being checked; nothing else runs meanwhile

local function refuse(path, text)
  error({path = path, text = text})
end

local function skip(json, at)
  return json:find("[^ \t\r\n]", at) or #json + 1
end

-- Return the text between the quotes, as it is written, and where it goes on.
local function quoted(json, at, path)
  local from = at + 1
  at = from
  while true do
    at = json:find('[\\"%c]', at)
    local found = at and json:sub(at, at)
    if found == '"' then return json:sub(from, at - 1), at + 1 end
    if found ~= "\\" then refuse(path, "a string does not end") end
    if not json:find('^["\\/bfnrtu]', at + 1) then refuse(path, "a string has an unknown escape") end
    at = at + 2
  end
end

local function object(json, at, kind, path, depth)
  local fields = TYPES[kind]
  at = skip(json, at + 1)
  if json:sub(at, at) == "}" then return at + 1 end
  while true do
    if json:sub(at, at) ~= '"' then refuse(path, "the name of a field was expected, in double quotes") end
    local name
    name, at = quoted(json, at, path)
    local inner = (path == "" and "" or path .. ".") .. name
    at = skip(json, at)
    if json:sub(at, at) ~= ":" then refuse(inner, "a colon was expected after the name") end
    if depth == 0 and in_path[name] then refuse(inner, "the path says it already") end
    if fields and not fields[name] then refuse(inner, "there is no such field") end
    at = skip(json, value(json, at + 1, fields and fields[name] or "any", inner, depth + 1))
    local found = json:sub(at, at)
    if found == "}" then return at + 1 end
    if found ~= "," then refuse(inner, "a comma or the end of the object was expected after the value") end
    at = skip(json, at + 1)
  end
end

local function array(json, at, kind, path, depth)
  at = skip(json, at + 1)
  if json:sub(at, at) == "]" then return at + 1 end
  local index = 0
  while true do
    local inner = path .. "[" .. index .. "]"
    at = skip(json, value(json, at, kind, inner, depth + 1))
    local found = json:sub(at, at)
    if found == "]" then return at + 1 end
    if found ~= "," then refuse(inner, "a comma or the end of the list was expected after the value") end
    at, index = at + 1, index + 1
  end
end

value = function(json, at, kind, path, depth)
  if depth > DEPTH_MAX then refuse(path, "nested too deep") end
  at = skip(json, at)
  local found, word = json:sub(at, at), json:match("^[%w+.-]+", at)
  if word == "null" then return at + 4 end
  local items = kind:match("^list (.*)$")
  if found == "[" then
    if not items and kind ~= "any" then refuse(path, "a list was not expected") end
    return array(json, at, items or kind, path, depth)
  end
  if items then refuse(path, "a list was expected") end
  if found == "{" then
    if kind == "string" then refuse(path, "a string was expected") end
    if kind == "scalar" then refuse(path, "an object was not expected") end
    return object(json, at, kind, path, depth)
  end
  if TYPES[kind] then refuse(path, "an object was expected") end
  if found == '"' then
    local _, after = quoted(json, at, path)
    return after
  end
  if word ~= "true" and word ~= "false" and not (word and tonumber(word) and word:find("^-?%d")) then
    refuse(path, "a value was expected")
  end
  if kind == "string" then refuse(path, "a string was expected") end
  return at + #word
end

local function check_query(path, allowed)
  for pair in (path:match("%?([^#]*)") or ""):gmatch("[^&]+") do
    local name = pair:match("^[^=]*")
    if not allowed[name:match("^[^.]*")] then refuse(name, "there is no such parameter of the query") end
  end
end

local function check_body(json, kind)
  if not kind then refuse("", "this call takes none") end
  local at = skip(json, value(json, 1, kind, "", 0))
  if at <= #json then refuse("", "something follows after the end") end
end

local function check(handle)
  local route = handle:metadata()
  -- Read at once: waiting for the body ends what `route` is good for.
  local kind, query, path = route:get("body"), route:get("query"), route:get("path")
  check_query(handle:headers():get(":path"), query)
  local body = handle:body()
  if body and body:length() > 0 then
    in_path = path
    check_body(body:getBytes(0, body:length()), kind)
  end
end

-- Only names travel back, never values; what is odd in a name is left out, so that the answer stays JSON.
local function refusal(path, text)
  local field = path:gsub("[^%w_.%[%]-]", ""):sub(1, 200)
  local filled = {FIELD = field, MESSAGE = (field == "" and "the body" or field) .. ": " .. text}
  return (REFUSAL:gsub("%u+", filled))
end

function envoy_on_request(handle)
  local fine, wrong = pcall(check, handle)
  if fine then return end
  if type(wrong) == "table" then return handle:respond({[":status"] = "400"}, refusal(wrong.path, wrong.text)) end
  -- Our own mistake. Without pcall Envoy would pass on what nobody has checked.
  handle:logErr(tostring(wrong))
  handle:respond({[":status"] = "500"}, UNNAMED["13"])
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  headers:remove("grpc-status")
  headers:remove("grpc-message")
  if status == "200" and not handle:metadata():get("unwrap") then return end
  local body = handle:body()  -- waiting for it ends what `headers` is good for
  if not body then return end
  local json = body:getBytes(0, body:length())
  local changed
  if status == "200" then
    changed = json:match('^{"%w+":(.*)}$')
  else
    -- No service of ours refuses without a reason: gRPC did it, in its own words.
    changed = UNNAMED[json:match('^{"code":(%d+),.*"details":%[%]}$') or ""]
    -- The transcoder's words name a field, with a wrong index, and repeat its value or a part of the body. Of Envoy's
    -- own answers the details come first.
    local said = json:match('^{"code":3,"details":.*"MALFORMED_REQUEST".*,"message":"(.*)"}')
    if said then
      local field = said:match("^([%w_.%[%]]+): ") or said:match('^[%w -]+ field \\"([%w_.]+)\\"') or ""
      changed = refusal(field:gsub("%[%d+%]", ""), field == "" and "malformed" or "it cannot have this value")
    end
    local wait_s = (changed or json):match('"retryDelay": ?"([%d.]+)s"')
    if wait_s then handle:headers():replace("retry-after", tostring(math.ceil(wait_s))) end
  end
  if changed then handle:headers():replace("content-length", body:setBytes(changed)) end
end

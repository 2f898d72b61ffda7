-- What REST asks and is answered, beside the transcoder. That skips unknown fields, takes what is not quite JSON or not
-- quite of the field's type, repeats what it does not understand (which may be a password), and knows no response_body.
-- So it is done here. How large a number may be is left to the transcoder.
--
-- Put before this text by filters.py:
--   TYPES    {message = {field = kind}}; a kind is "string", "bool", "int32", "int64", "number", "enum" and its name, the
--            name of a message, "any" (which the transcoder checks as a whole), or "list" or "map" and one of these
--   ENUMS    {enum = {name of a value = true}}
--   REFUSAL  the JSON of an answer, with FIELD and MESSAGE to fill in
--   UNNAMED  {gRPC code = the JSON of an answer}, for errors that have no reason of ours
-- Metadata of the route:
--   body    kind of the request's body; nil: it has none
--   query   {field = kind} for the parameters that the query may have (the transcoder lets them override the path)
--   path    {field = kind} for those that stand in the path, and so not in the body
--   places  {number of a part of the path = field}
--   unwrap  whether the answer is its message's only field

local DEPTH_MAX = 32
local KEY_MAX = 64

local value
local in_path = {}  -- of the body that is being checked; nothing else runs meanwhile

local function refuse(path, text)
  error({path = path, text = text})
end

local function skip(json, at)
  return json:find("[^ \t\r\n]", at) or #json + 1
end

-- Return where it goes on after an escape of four hexadecimal digits, or of a pair of surrogates.
local function code_point(json, at, path)
  local digits = json:match("^%x%x%x%x", at + 2)
  if not digits then refuse(path, "a string has an unknown escape") end
  if not digits:find("^[dD][89a-fA-F]") then return at + 6 end
  if digits:find("^[dD][89abAB]") and json:find("^\\u[dD][c-fC-F]%x%x", at + 6) then return at + 12 end
  refuse(path, "a string has half of a character")
end

-- By bytes and not by patterns: those LuaJIT does not compile, and a body may have a million.
local function is_utf8(text)
  if not text:find("[\128-\255]") then return true end
  local at, size = 1, #text
  while at <= size do
    local lead, second = text:byte(at, at + 1)
    at = at + 1
    if lead >= 0x80 then
      local from, to = 0x80, 0xBF  -- of the second byte: nothing in more bytes than it takes, no surrogates
      if lead == 0xE0 then from = 0xA0 elseif lead == 0xED then to = 0x9F end
      if lead == 0xF0 then from = 0x90 elseif lead == 0xF4 then to = 0x8F end
      if lead < 0xC2 or lead > 0xF4 or not second or second < from or second > to then return false end
      local last = at + (lead < 0xE0 and 0 or lead < 0xF0 and 1 or 2)
      for next = at + 1, last do
        local byte = text:byte(next)
        if not byte or byte < 0x80 or byte > 0xBF then return false end
      end
      at = last + 1
    end
  end
  return true
end

-- Return the text between the quotes, as it is written, and where it goes on.
local function quoted(json, at, path)
  local from = at + 1
  at = from
  while true do
    at = json:find('[\\"%z\1-\31]', at)
    local found = at and json:sub(at, at)
    if found == '"' then return json:sub(from, at - 1), at + 1 end
    if found ~= "\\" then refuse(path, "a string does not end") end
    if not json:find('^["\\/bfnrtu]', at + 1) then refuse(path, "a string has an unknown escape") end
    at = json:sub(at + 1, at + 1) == "u" and code_point(json, at, path) or at + 2
  end
end

local function camel(path)
  return (path:gsub("_(%w?)", string.upper))
end

local function is_number(word)
  local rest = word:match("^-?0(.*)$") or word:match("^-?[1-9]%d*(.*)$")
  if not rest then return false end
  return rest:gsub("^%.%d+", "", 1):gsub("^[eE][+-]?%d+$", "", 1) == ""
end

local function is_integer(text)
  return text == "0" or text:find("^-?[1-9]%d*$") ~= nil
end

local function enum_of(kind)
  return kind:match("^enum (.*)$")
end

-- Refuse what stands without quotes in JSON and is not of its kind.
local function check_word(word, kind, path)
  local is_bool, number = word == "true" or word == "false", is_number(word)
  if not is_bool and not number then refuse(path, "a value was expected") end
  if kind == "any" then return end
  if kind == "bool" then
    if not is_bool then refuse(path, "true or false was expected") end
  elseif kind == "string" then refuse(path, "a string was expected")
  elseif enum_of(kind) then refuse(path, "the name of a value was expected, in double quotes")
  elseif not number then refuse(path, "a number was expected") end
end

-- Refuse what stands between quotes in JSON and is not of its kind.
local function check_quoted(text, kind, path)
  if kind == "string" or kind == "any" then return end
  if kind == "int64" then
    if not is_integer(text) then refuse(path, "digits were expected") end
  elseif enum_of(kind) then
    if not ENUMS[enum_of(kind)][text] then refuse(path, "there is no value of this name") end
  elseif kind == "bool" then refuse(path, "true or false was expected, without quotes")
  else refuse(path, "a number was expected, without quotes") end
end

-- Refuse what stands in a path or query, its escapes resolved, and is not of its kind.
local function check_text(text, kind, path)
  if kind == "bool" then
    if text ~= "true" and text ~= "false" then refuse(path, "true or false was expected") end
  elseif kind == "int32" or kind == "int64" then
    if not is_integer(text) then refuse(path, "digits were expected") end
  elseif kind == "number" then
    if not is_number(text) then refuse(path, "a number was expected") end
  else check_quoted(text, kind, path) end
end

local function object(json, at, kind, path, depth)
  local fields, items = TYPES[kind], kind:match("^map (.*)$")
  local seen = {}
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
    local once = fields and camel(name) or name
    if seen[once] then refuse(inner, "it is there twice") end
    seen[once] = true
    at = skip(json, value(json, at + 1, items or fields and fields[name] or "any", inner, depth + 1, items))
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
    at = skip(json, value(json, at, kind, inner, depth + 1, kind ~= "any"))
    local found = json:sub(at, at)
    if found == "]" then return at + 1 end
    if found ~= "," then refuse(inner, "a comma or the end of the list was expected after the value") end
    at, index = at + 1, index + 1
  end
end

-- A null is what is left out; a list and a map leave out nothing.
value = function(json, at, kind, path, depth, is_item)
  if depth > DEPTH_MAX then refuse(path, "nested too deep") end
  at = skip(json, at)
  local found, word = json:sub(at, at), json:match("^[%w+.-]+", at)
  if word == "null" then
    if is_item then refuse(path, "a value was expected") end
    return at + 4
  end
  local items = kind:match("^list (.*)$")
  if found == "[" then
    if not items and kind ~= "any" then refuse(path, "a list was not expected") end
    return array(json, at, items or kind, path, depth)
  end
  if items then refuse(path, "a list was expected") end
  if found == "{" then
    if not TYPES[kind] and not kind:find("^map ") and kind ~= "any" then refuse(path, "an object was not expected") end
    return object(json, at, kind, path, depth)
  end
  if TYPES[kind] or kind:find("^map ") then refuse(path, "an object was expected") end
  if found == '"' then
    local text, after = quoted(json, at, path)
    check_quoted(text, kind, path)
    return after
  end
  check_word(word or "", kind, path)
  return at + #word
end

-- Return a text of a path or query with its escapes resolved.
local function unescaped(text, name, wrong)
  local plain = text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
  if select(2, text:gsub("%%", "")) ~= select(2, text:gsub("%%%x%x", "")) then
    refuse(name, wrong .. " has a % without two hexadecimal digits after it")
  end
  if not is_utf8(plain) then refuse(name, wrong .. " is not UTF-8") end
  return plain
end

local function check_path(path, places, kinds)
  unescaped(path, "", "the path")
  local number = 0
  for part in path:gmatch("[^/]+") do
    number = number + 1
    local name = places[tostring(number)]
    if name then check_text(unescaped(part, name, "the value"), kinds[name], camel(name)) end
  end
end

local function check_query(query, kinds)
  local seen = {}
  for pair in query:gmatch("[^&]+") do
    local name, text = pair:match("^([^=]*)=?(.*)$")
    local kind = kinds[name]
    if not kind then refuse(name, "there is no such parameter of the query") end
    local items = kind:match("^list (.*)$")
    if seen[camel(name)] and not items then refuse(name, "it is there twice") end
    seen[camel(name)] = true
    check_text(unescaped(text, name, "the value"), items or kind, camel(name))
  end
end

local function check_body(json, kind)
  if not kind then refuse("", "this call takes no body") end
  if not is_utf8(json) then refuse("", "the body is not UTF-8") end
  if TYPES[kind] and not json:find("^[ \t\r\n]*{") then refuse("", "the body must be a JSON object") end
  local at = skip(json, value(json, 1, kind, "", 0))
  if at <= #json then refuse("", "something follows after the end of the body") end
end

-- Headers become metadata of gRPC, which is ASCII. Of those that mean nothing to us browsers may send what they like.
local function check_headers(headers)
  local odd = {}
  for name, text in pairs(headers) do
    if text:find("[^ -~]") and name:sub(1, 1) ~= ":" then odd[#odd + 1] = name end
  end
  for _, name in ipairs(odd) do
    if name == "accept-language" or name == "idempotency-key" then refuse(name, "it is not ASCII") end
    headers:remove(name)
  end
  -- Who sends an empty one believes that a repeat has no effect.
  local key = headers:get("idempotency-key")
  if key == "" then refuse("idempotency-key", "it is empty") end
  if key and #key > KEY_MAX then refuse("idempotency-key", "it is longer than 64 characters") end
end

local function check(handle)
  local route = handle:metadata()
  -- Read at once: waiting for the body ends what `route` is good for.
  local kind, query, path, places = route:get("body"), route:get("query"), route:get("path"), route:get("places")
  local headers = handle:headers()
  local target = headers:get(":path")
  check_headers(headers)
  check_path(target:match("^[^?]*"), places, path)
  check_query(target:match("%?([^#]*)") or "", query)
  local body = handle:body()
  if body and body:length() > 0 then
    in_path = path
    check_body(body:getBytes(0, body:length()), kind)
  end
end

-- Only names travel back, never values; what is odd in a name is left out, so that the answer stays JSON.
local function refusal(path, text)
  local field = path:gsub("[^%w_.%[%]-]", ""):sub(1, 200)
  local filled = {FIELD = field, MESSAGE = (field == "" and "" or field .. ": ") .. text}
  return (REFUSAL:gsub("%u+", filled))
end

-- Services name fields as the contracts do; who speaks JSON knows `first_name` as `firstName`.
local function with_json_names(json)
  local names = {}
  json = json:gsub('("field":")([%w_.%[%]]+)(","description":")([%w_.%[%]]*)', function(before, path, between, first)
    names[path] = camel(path)
    return before .. names[path] .. between .. (names[first] or first)
  end)
  return (json:gsub('^({"code":%d+,"message":")([%w_.%[%]]+)', function(before, first)
    return before .. (names[first] or first)
  end))
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
      field = camel(field:gsub("%[%d+%]", ""))
      changed = refusal(field, field == "" and "the request is malformed" or "it cannot have this value")
    end
    changed = changed or with_json_names(json)
    local wait_s = (changed or json):match('"retryDelay": ?"([%d.]+)s"')
    if wait_s then handle:headers():replace("retry-after", tostring(math.ceil(wait_s))) end
  end
  if changed then handle:headers():replace("content-length", body:setBytes(changed)) end
end

-- For wrk with one connection a thread: every request has a nonce of its own, and its answer is compared byte by byte.
--
-- Environment: SOAK_TAG (begins every nonce), SOAK_PATHS (comma between them), SOAK_COUNT (answers a thread), SOAK_HOLD
-- ("COUNT MS": so many first requests of a thread are held so long in the pod), SOAK_SEED, SOAK_OUT (a folder).
-- SOAK_OUT/TAG-THREAD.log gets a line for each request that was not answered rightly (KIND NONCE STATUS CODE POD WHAT)
-- and at last "end SENT ANSWERED RIGHT"; SOAK_OUT/TAG-THREAD.end says that it is whole. wrk is stopped from outside.

local threads = 0
function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

local pattern
local tag = os.getenv("SOAK_TAG")
local limit = tonumber(os.getenv("SOAK_COUNT"))
local held, hold = os.getenv("SOAK_HOLD"):match("(%d+) (%d+)")
local paths = {}
local verified, log, base
local sent, answered, right = 0, 0, 0
local open

local function part(offset, length) return pattern:sub(offset + 1, offset + length) end

function init()
  local letters, x = {}, 1
  for i = 1, 256 * 1024 do
    x = x * 16807 % 2147483647
    letters[i] = string.char(97 + x % 26)
  end
  pattern = table.concat(letters)
  for path in os.getenv("SOAK_PATHS"):gmatch("[^,]+") do paths[#paths + 1] = path end
  math.randomseed(tonumber(os.getenv("SOAK_SEED")) % 1000000 + id * 7919)
  base = os.getenv("SOAK_OUT") .. "/" .. tag .. "-" .. id
  log = io.open(base .. ".log", "w")
end

local function note(kind, status, code, pod, what)
  log:write(kind, " ", open and open.nonce or "-", " ", status, " ", code or "-", " ", pod or "-", " ",
    (what or ""):sub(1, 300):gsub("%c", " "), "\n")
  log:flush()
end

local function finish()
  log:write("end ", sent, " ", answered, " ", right, "\n")
  log:close()
  io.open(base .. ".end", "w"):close()
  wrk.thread:stop()
end

-- Mostly little, now and then much.
local function length(much)
  if math.random(20) == 1 then return math.random(0, much) end
  return math.random(0, 600)
end

function request()
  -- wrk asks the first thread once only to look at what it would send.
  if id == 0 and not verified then
    verified = true
    return wrk.format("GET", "/")
  end
  if open then note("lost", 0) end
  sent = sent + 1
  local path = paths[math.random(#paths)]
  open = { nonce = tag .. id .. "-" .. sent, inlen = 0, inoff = 0, outlen = length(60000) }
  local body
  if math.random(3) == 1 then
    open.inlen = length(20000)
    open.inoff = math.random(0, 200000)
    body = part(open.inoff, open.inlen)
  end
  open.outoff = math.random(0, 190000)
  local wait = 0
  if sent <= tonumber(held) then wait = hold elseif math.random(2000) == 1 then wait = 15 end
  local target = string.format("%s/%s?ok,%d,%d,%d,%d,%d", path, open.nonce, open.inoff, open.inlen, open.outoff,
    open.outlen, wait)
  return wrk.format(body and "POST" or "GET", target, { ["X-Call-Id"] = open.nonce, ["Host"] = "soak" }, body)
end

local function judge(status, headers, body)
  if status ~= 200 then return false end
  local nonce, revision, count, at = body:match("^(%S+) (%S+) (%d+)\n()")
  if nonce ~= open.nonce or headers["X-Nonce"] ~= nonce or headers["X-Call-Id"] ~= nonce then return false end
  return tonumber(count) == open.inlen and #body - at + 1 == open.outlen
    and body:sub(at) == part(open.outoff, open.outlen)
end

function response(status, headers, body)
  answered = answered + 1
  if not open then
    note("unasked", status, headers["X-Apus-Error"], headers["X-Pod"], body)
  elseif judge(status, headers, body) then
    right = right + 1
  else
    note(status == 200 and "wrong" or "refused", status, headers["X-Apus-Error"], headers["X-Pod"], body)
  end
  open = nil
  if answered >= limit then finish() end
end

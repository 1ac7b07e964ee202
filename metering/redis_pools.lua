-- The pools that gateways share: one question of one member, answered at once and atomically.
-- ARGV[1]: the ledger's name, so that several ledgers can use one Redis. ARGV[2]: a Question, and the reply an Answer, of pools.py, as JSON. Amounts are whole numbers
-- below 2^53; they leave as strings, because the encoder would round them.
--
--   <p>clock              hash  wall_ms, now_ms: Redis's clock and the pools' at the last question
--   <p>gen                hash  id, run, born_ms, open, booked_seq
--   <p>joined             set   writers that told their leases in this generation
--   <p>accounts           set   accounts with leases
--   <p>purses             zset  caps of a cycle and free tokens of a day with leases, by their end
--   <p>of:<writer>        set   accounts that this writer leases
--   <p>seen               hash  member -> when it last asked, ms
--   <p>lives              hash  writer -> its member
--   <p>numbers            hash  member -> the number of its last question
--   <p>w:<pool>           hash  slot, sum, want, <member>:<slot> -> taken
--   <p>c:<pool>           hash  want, m:<member> -> places
--   <p>a:<account, purse> hash  want, posted, seq, l:<writer> -> lease
--   <p>k:<pool>           hash  member -> "<unused>@<ms>"

local P = 'tollgate:{' .. ARGV[1] .. '}:'
local LEASE_MS = 2000       -- a member that is silent for longer has left
local WANT_MS = 300         -- for so long the others keep nothing back for themselves
local BUSY_MS = 250         -- a member with something to say speaks more often than that
local WINDOW_SLOTS = 62     -- a minute, and a slot at either end
local POOL_TTL_S = 7200     -- by Redis's clock, which somebody may set an hour ahead
local PURSE_TTL_S = 172800  -- after its end; by then every gateway's clock agrees that it is over
local LEAP_MS = 10000

local function whole(x) return string.format('%.0f', x) end
local function number(x) return tonumber(x) or 0 end

-- The time of the pools: it goes on as Redis's clock does, but neither back nor by a leap. Whoever
-- lives asks every second: a longer gap was nobody's minute, or somebody set the clock.

local function pool_time_ms()
  local time = redis.call('TIME')
  local wall_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local last = redis.call('HMGET', P .. 'clock', 'wall_ms', 'now_ms')
  local now_ms = wall_ms
  if last[1] then
    local passed_ms = wall_ms - number(last[1])
    if passed_ms < 0 or passed_ms > LEAP_MS then passed_ms = 0 end
    now_ms = number(last[2]) + passed_ms
  end
  redis.call('HSET', P .. 'clock', 'wall_ms', whole(wall_ms), 'now_ms', whole(now_ms))
  return now_ms
end

local q = cjson.decode(ARGV[2])
local now_ms = pool_time_ms()
local slot = math.floor(now_ms / 1000)
local left_ms = (slot + 1) * 1000 - now_ms

-- The generation: a life of this data. One that was flushed, restarted or failed over is a new one.

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local gen = redis.call('HMGET', P .. 'gen', 'id', 'run', 'born_ms', 'open', 'booked_seq')
if not gen[1] or gen[2] ~= run then
  for _, account in ipairs(redis.call('SMEMBERS', P .. 'accounts')) do
    redis.call('DEL', P .. 'a:' .. account)
  end
  for _, purse in ipairs(redis.call('ZRANGE', P .. 'purses', 0, -1)) do
    redis.call('DEL', P .. 'a:' .. purse)
  end
  for _, writer in ipairs(redis.call('SMEMBERS', P .. 'joined')) do
    redis.call('DEL', P .. 'of:' .. writer)
  end
  redis.call('DEL', P .. 'accounts', P .. 'purses', P .. 'joined', P .. 'gen', P .. 'seen', P .. 'lives', P .. 'numbers')
  gen = { q.nonce, run, now_ms, '0', '0' }
  redis.call('HSET', P .. 'gen', 'id', q.nonce, 'run', run, 'born_ms', now_ms, 'open', 0,
    'booked_seq', 0)
end
local booked_seq = number(gen[5])
local function booked(seq)
  if seq > booked_seq then
    booked_seq = seq
    redis.call('HSET', P .. 'gen', 'booked_seq', whole(seq))
  end
end

if q.generation ~= gen[1] then
  return cjson.encode({ generation = gen[1], slot = slot, left_ms = left_ms, joined = false,
    open = false })
end
local function ends_its_own(list)
  for _, writer in ipairs(list) do if writer == q.writer then return true end end
  return false
end

-- What was sent on a connection that was given up may be read late: after later questions of the
-- same member, or after its writer began another life.
if q.number <= number(redis.call('HGET', P .. 'numbers', q.member)) then
  return redis.error_reply('OVERTAKEN by a later question')
end
local life = redis.call('HGET', P .. 'lives', q.writer)
if ends_its_own(q.dropped) then
  redis.call('HSET', P .. 'lives', q.writer, q.member)
elseif life and life ~= q.member then
  return redis.error_reply('DISOWNED by another life of this writer')
end
redis.call('HSET', P .. 'numbers', q.member, q.number)

for _, writer in ipairs(q.dropped) do
  for _, account in ipairs(redis.call('SMEMBERS', P .. 'of:' .. writer)) do
    redis.call('HDEL', P .. 'a:' .. account, 'l:' .. writer)
  end
  redis.call('DEL', P .. 'of:' .. writer)
  redis.call('SADD', P .. 'joined', writer)
  booked(q.booked_seq)
end
redis.call('HSET', P .. 'seen', q.member, now_ms)

-- What all pools have in common.

-- Is somebody else short of this pool? Then nobody keeps what it does not use.
local function wanted(pool)
  local who, until_ms = string.match(redis.call('HGET', pool, 'want') or '', '^(.*)@%d+-(%d+)$')
  return who ~= nil and who ~= q.member and number(until_ms) > now_ms
end

-- Note that the asker is short of it. Returns since when anybody was.
local function want(pool)
  local since_ms, until_ms = string.match(redis.call('HGET', pool, 'want') or '', '@(%d+)-(%d+)$')
  if not since_ms or number(until_ms) <= now_ms then since_ms = whole(now_ms) end
  redis.call('HSET', pool, 'want', q.member .. '@' .. since_ms .. '-' .. whole(now_ms + WANT_MS))
  return number(since_ms)
end

-- May others have some that they do not use? One that was busy a moment ago, and did not speak since
-- somebody went short, may have more by now than it said.
local function hoarded(name, since_ms)
  local found = redis.call('HGETALL', P .. 'k:' .. name)
  for i = 1, #found, 2 do
    if found[i] ~= q.member then
      local unused, at = string.match(found[i + 1], '^(%d+)@(%d+)$')
      local at_ms = number(at)
      if number(unused) > 0 and at_ms > now_ms - LEASE_MS then return true end
      if at_ms < since_ms and at_ms > now_ms - BUSY_MS then return true end
    end
  end
  return false
end

local function grant(name, pool, free, keep, demand, may)
  local least, total, extra = demand[1], demand[2], demand[3]
  local given = 0
  local others_want = wanted(pool)
  if may and total > 0 and free >= least then given = math.max(0, math.min(free, total)) end
  local short = least > 0 and given == 0
  local more = short and (hoarded(name, want(pool)) or not may)
  if may and not short and not others_want then
    given = given + math.max(0, math.min(extra, math.floor((free - given) / 4)))
  end
  local unused = math.max(0, keep + given)
  if total > 0 and not short then unused = math.max(0, given - total) end
  redis.call('HSET', P .. 'k:' .. name, q.member, whole(unused) .. '@' .. whole(now_ms))
  redis.call('EXPIRE', P .. 'k:' .. name, POOL_TTL_S)
  return given, others_want, more, short
end

-- Windows.

local function slots_of(pool)
  local found, by_slot, sum = redis.call('HGETALL', pool), {}, 0
  for i = 1, #found, 2 do
    local at = string.match(found[i], ':(%d+)$')
    if at then
      at = tonumber(at)
      if at <= slot - WINDOW_SLOTS or at > slot + 5 then
        redis.call('HDEL', pool, found[i])
      else
        by_slot[at] = (by_slot[at] or 0) + number(found[i + 1])
        sum = sum + number(found[i + 1])
      end
    end
  end
  return by_slot, sum
end

local function wait_ms(pool, missing)
  local by_slot, at = slots_of(pool), {}
  for found in pairs(by_slot) do at[#at + 1] = found end
  table.sort(at)
  for _, found in ipairs(at) do
    missing = missing - by_slot[found]
    if missing <= 0 then return (found + WINDOW_SLOTS) * 1000 - now_ms end
  end
  return WINDOW_SLOTS * 1000
end

local function window(row)
  local name, limit, label, used, keep, earlier, demand = unpack(row)
  local pool = P .. 'w:' .. name
  local sum
  if number(redis.call('HGET', pool, 'slot')) ~= slot then
    local _
    _, sum = slots_of(pool)
  else
    sum = number(redis.call('HGET', pool, 'sum'))
  end
  local function state(at, taken)
    if at <= slot - WINDOW_SLOTS or at > slot then return end
    local field = q.member .. ':' .. at
    sum = sum + taken - number(redis.call('HGET', pool, field))
    redis.call('HSET', pool, field, whole(taken))
  end
  for _, pair in ipairs(earlier) do state(pair[1], pair[2]) end
  local here = keep
  if label == slot then
    here = used + keep
  elseif label >= 0 then
    state(label, used)
  else
    here = number(redis.call('HGET', pool, q.member .. ':' .. slot))
    for _, pair in ipairs(earlier) do if pair[1] == slot then here = pair[2] end end
  end
  local given, others_want, more, short =
    grant(name, pool, limit - sum - (here - number(redis.call('HGET', pool, q.member .. ':' .. slot))),
      keep, demand, q.may)
  state(slot, here + given)
  redis.call('HSET', pool, 'slot', slot, 'sum', whole(sum))
  redis.call('EXPIRE', pool, POOL_TTL_S)
  local wait = short and wait_ms(pool, demand[1] - (limit - sum)) or 0
  return { whole(given), others_want, more, whole(limit - sum), whole(wait) }
end

-- Places.

local function places(row)
  local name, limit, used, keep, demand = unpack(row)
  local pool, sum = P .. 'c:' .. name, used + keep
  local found = redis.call('HGETALL', pool)
  for i = 1, #found, 2 do
    local member = string.match(found[i], '^m:(.*)$')
    if member and member ~= q.member then
      if number(redis.call('HGET', P .. 'seen', member)) < now_ms - LEASE_MS then
        redis.call('HDEL', pool, found[i])
      else
        sum = sum + number(found[i + 1])
      end
    end
  end
  local given, others_want, more = grant(name, pool, limit - sum, keep, demand, q.may)
  if used + keep + given > 0 then
    redis.call('HSET', pool, 'm:' .. q.member, whole(used + keep + given))
  else
    redis.call('HDEL', pool, 'm:' .. q.member)
  end
  return { whole(given), others_want, more, whole(limit - sum - given), '0' }
end

-- Credit.

local function credit(row, may)
  local account, leased, keep, posted, seq, demand, until_s = unpack(row)
  local pool = P .. 'a:' .. account
  local view_seq = redis.call('HGET', pool, 'seq')
  if seq >= 0 and (not view_seq or seq >= tonumber(view_seq)) then
    redis.call('HSET', pool, 'posted', whole(posted), 'seq', whole(seq))
    view_seq = seq
  end
  local free = number(redis.call('HGET', pool, 'posted')) - leased
  local found = redis.call('HGETALL', pool)
  for i = 1, #found, 2 do
    local writer = string.match(found[i], '^l:(.*)$')
    if writer and writer ~= q.writer then free = free - number(found[i + 1]) end
  end
  local fresh = view_seq ~= false and tonumber(view_seq) >= booked_seq
  local given, others_want, more = grant(account, pool, free, keep, demand, may and fresh)
  others_want = others_want or free < 0
  if leased + given > 0 then
    redis.call('HSET', pool, 'l:' .. q.writer, whole(leased + given))
    redis.call('SADD', P .. 'of:' .. q.writer, account)
  else
    redis.call('HDEL', pool, 'l:' .. q.writer)
    redis.call('SREM', P .. 'of:' .. q.writer, account)
  end
  if until_s > 0 then
    local ends = math.max(until_s, slot)  -- a gateway's clock may be behind
    redis.call('ZADD', P .. 'purses', ends, account)
    redis.call('ZREMRANGEBYSCORE', P .. 'purses', '-inf', slot - PURSE_TTL_S)
    redis.call('EXPIREAT', pool, ends + PURSE_TTL_S)
  else
    redis.call('SADD', P .. 'accounts', account)
  end
  return { whole(given), others_want, more, whole(free - given), '0', not fresh }
end

-- A generation opens for money once all writers on the ledger's register are in, and for limits at
-- the latest when whoever lives has asked.

if q.joins and redis.call('SADD', P .. 'joined', q.writer) == 1 then booked(q.booked_seq) end
local open = gen[4] == '1'
if not open and q.register then
  open = true
  for _, writer in ipairs(q.register) do
    if redis.call('SISMEMBER', P .. 'joined', writer) == 0 then open = false end
  end
  if open then redis.call('HSET', P .. 'gen', 'open', 1) end
end
local joined = redis.call('SISMEMBER', P .. 'joined', q.writer) == 1
q.may = open or now_ms > number(gen[3]) + LEASE_MS

local answer = { generation = gen[1], slot = slot, left_ms = left_ms, joined = joined, open = open }
local function each(name, rows, judge, may)
  if #rows == 0 then return end
  local grants = {}
  for i, row in ipairs(rows) do grants[i] = judge(row, may) end
  answer[name] = grants
end
each('windows', q.windows, window)
each('places', q.places, places)
each('credit', q.credit, credit, open and joined)
return cjson.encode(answer)

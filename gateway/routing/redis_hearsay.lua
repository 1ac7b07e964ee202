-- What gateways tell each other of nodes: one gateway tells, and hears what all others told.
-- ARGV[1]: the ledger's name. ARGV[2]: the gateway's name. ARGV[3]: what it tells; empty: it leaves.
-- ARGV[4]: for how many ms that stands.
--
--   <p>              zset  gateways -> until when what they told stands, ms
--   <p>:<gateway>    what it told

local P = 'tollgate:{' .. ARGV[1] .. '}:hearsay'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == '' then
    redis.call('DEL', P .. ':' .. ARGV[2])
    redis.call('ZREM', P, ARGV[2])
    return {}
end
redis.call('SET', P .. ':' .. ARGV[2], ARGV[3], 'PX', ARGV[4])
redis.call('ZADD', P, now + ARGV[4], ARGV[2])
redis.call('ZREMRANGEBYSCORE', P, '-inf', now)
redis.call('PEXPIRE', P, ARGV[4])
local told = {}
for _, name in ipairs(redis.call('ZRANGE', P, 0, -1)) do
    local words = name ~= ARGV[2] and redis.call('GET', P .. ':' .. name)
    if words then
        told[#told + 1] = name
        told[#told + 1] = words
    end
end
return told

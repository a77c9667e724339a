-- settle: a job is settled in PostgreSQL; what it left behind goes into Redis as it goes out.
-- Without a fence: what is committed is committed, whoever holds the entry by now.
-- KEYS jobs, delayed
-- ARGV group, entry, number of payloads for the stream, these, then (delay in ms, payload) for the delayed set
-- Returns how many entries were acknowledged.
local group, entry, n = ARGV[1], ARGV[2], tonumber(ARGV[3])
for i = 4, 3 + n do
  redis.call('XADD', KEYS[1], '*', 'j', ARGV[i])
end
if #ARGV > 3 + n then
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  for i = 4 + n, #ARGV, 2 do
    redis.call('ZADD', KEYS[2], now + tonumber(ARGV[i]), ARGV[i + 1])
  end
end
-- A stream without the group (flushed meanwhile) has nothing to acknowledge.
local acked = redis.pcall('XACK', KEYS[1], group, entry)
redis.call('XDEL', KEYS[1], entry)
return type(acked) == 'number' and acked or 0

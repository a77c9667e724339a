-- settle: jobs are settled in PostgreSQL: their entries go, and what they left behind goes in.
-- Without a fence: what is committed is committed, whoever holds the entries by now.
-- KEYS jobs, delayed
-- ARGV group, number of entries, these, number of payloads for the stream, these, then (delay in ms, payload) for the delayed set
-- Returns the oldest entry that is pending, '' if none is: of these entries, those behind it are acknowledged, but still there. Nil if the
-- group is not there: nobody knows, and these entries are deleted.
local group, n = ARGV[1], tonumber(ARGV[2])
local pushed = 3 + n
local delayed = pushed + 1 + tonumber(ARGV[pushed])
for i = pushed + 1, delayed - 1 do
  redis.call('XADD', KEYS[1], '*', 'j', ARGV[i])
end
if #ARGV >= delayed then
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  for i = delayed, #ARGV, 2 do
    redis.call('ZADD', KEYS[2], now + tonumber(ARGV[i]), ARGV[i + 1])
  end
end
-- A stream without the group (flushed meanwhile) has nothing to acknowledge.
for i = 3, 2 + n, 1000 do
  redis.pcall('XACK', KEYS[1], group, unpack(ARGV, i, math.min(i + 999, 2 + n)))
end
local oldest = trim(KEYS[1], group)
for i = 3, oldest and 2 or 2 + n, 1000 do
  redis.call('XDEL', KEYS[1], unpack(ARGV, i, math.min(i + 999, 2 + n)))
end
return oldest

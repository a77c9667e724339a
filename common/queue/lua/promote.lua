-- promote: jobs of the delayed set that are due go to the stream.
-- KEYS jobs, delayed
-- ARGV most of them
-- Returns how many went, and how many are left.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, payload in ipairs(due) do
  redis.call('XADD', KEYS[1], '*', 'j', payload)
  redis.call('ZREM', KEYS[2], payload)
end
return { #due, redis.call('ZCARD', KEYS[2]) }

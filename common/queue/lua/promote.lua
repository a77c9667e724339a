-- promote: jobs of the delayed set that are due go to the stream. So do those due in more than two days: no back-off lasts longer than one,
-- so another server's clock set them, or somebody who is not us, and nobody may wait for them.
-- KEYS jobs, delayed
-- ARGV most of them
-- Returns how many went, and how many are left.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
if #due == 0 then
  due = redis.call('ZRANGEBYSCORE', KEYS[2], now + 172800000, '+inf', 'LIMIT', 0, ARGV[1])
end
for _, payload in ipairs(due) do
  if #payload <= 65536 then -- longer ones are no jobs
    redis.call('XADD', KEYS[1], '*', 'j', payload)
  end
  redis.call('ZREM', KEYS[2], payload)
end
return { #due, redis.call('ZCARD', KEYS[2]) }

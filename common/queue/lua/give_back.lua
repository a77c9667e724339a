-- give_back: entries that this consumer holds go back to the stream's end, or to the delayed set.
-- Fenced: what another consumer has taken over by now is left alone.
-- KEYS jobs, delayed
-- ARGV group, consumer, delay in ms ('' for the stream), then (entry, payload) ...
-- Returns how many went back.
local group, consumer, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local n = 0
for i = 4, #ARGV, 2 do
  local held = redis.pcall('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1, consumer)
  if held.err == nil and #held == 1 then
    if delay then
      redis.call('ZADD', KEYS[2], now + delay, ARGV[i + 1])
    else
      redis.call('XADD', KEYS[1], '*', 'j', ARGV[i + 1])
    end
    redis.call('XACK', KEYS[1], group, ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
    n = n + 1
  end
end
trim(KEYS[1], group) -- what is acknowledged behind them waited for them
return n

-- take_over: entries whose owner went quiet become this consumer's.
-- KEYS jobs
-- ARGV group, consumer, least idle time in ms, cursor, most entries
-- Returns the next cursor ('0-0': once around), the entries as XREADGROUP gives them, and how often each was delivered.
-- XAUTOCLAIM looks each pending entry up in the stream before it asks how long it has been idle: 2 µs for each of the thousands that are well
-- looked after. XPENDING does not.
local idle = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[4], '+', 1)[1]
if not idle then
  return { '0-0', {}, {} }
end
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], idle[1], 'COUNT', ARGV[5])
local deliveries = {}
for i, entry in ipairs(reply[2]) do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
  deliveries[i] = pending[1] and pending[1][4] or 1
end
return { reply[1], reply[2], deliveries }

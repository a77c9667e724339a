-- forget_consumer: a consumer that holds nothing is removed from the group; one that holds something is left alone.
-- KEYS jobs
-- ARGV group, consumer
-- Returns 1 if it was removed.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #pending > 0 then
  return 0
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1

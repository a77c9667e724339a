-- renew: the leases of entries that this consumer still holds begin anew. What another has taken over is not taken back.
-- XCLAIM leaves the count of deliveries as it is (JUSTID) and resets the idle time.
-- KEYS jobs
-- ARGV group, consumer, then the entries in ascending order
-- Returns the entries that are not this consumer's any more.
local group, consumer = ARGV[1], ARGV[2]
local ours, want = {}, #ARGV - 2
local from, left = ARGV[3], true
-- The consumer's pending entries between the first and the last asked for, page by page: there may be others in between.
while left do
  local page = redis.pcall('XPENDING', KEYS[1], group, from, ARGV[#ARGV], want + 100, consumer)
  if page.err then
    page = {}
  end
  for _, entry in ipairs(page) do
    ours[entry[1]] = true
    from = '(' .. entry[1]
  end
  left = #page == want + 100
end
local lost, mine = {}, {}
for i = 3, #ARGV do
  if ours[ARGV[i]] then
    mine[#mine + 1] = ARGV[i]
  else
    lost[#lost + 1] = ARGV[i]
  end
end
for i = 1, #mine, 1000 do
  local args = { KEYS[1], group, consumer, 0 }
  for k = i, math.min(i + 999, #mine) do
    args[#args + 1] = mine[k]
  end
  args[#args + 1] = 'JUSTID'
  redis.call('XCLAIM', unpack(args))
end
return lost

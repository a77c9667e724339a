-- unseen: entries that are pending for this consumer although it does not hold them: the answer that brought them was lost.
-- KEYS jobs
-- ARGV group, consumer, most entries, then the entries that it holds
-- Returns the entries as XREADGROUP gives them; their leases begin anew. What was deleted meanwhile is left to a take-over.
local group, consumer, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local held, found, from, left = {}, {}, '-', true
for i = 4, #ARGV do
  held[ARGV[i]] = true
end
while left do
  local page = redis.pcall('XPENDING', KEYS[1], group, from, '+', 1000, consumer)
  if page.err then
    page = {}
  end
  for _, pending in ipairs(page) do
    local entry = not held[pending[1]] and #found < most and redis.call('XRANGE', KEYS[1], pending[1], pending[1])[1]
    if entry then
      redis.call('XCLAIM', KEYS[1], group, consumer, 0, pending[1], 'JUSTID')
      found[#found + 1] = entry
    end
    from = '(' .. pending[1]
  end
  left = #page == 1000 and #found < most
end
return found

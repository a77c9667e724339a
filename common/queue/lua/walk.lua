-- walk: a page of the stream, without what is acknowledged and was not trimmed yet (trim.lua): nobody delivers that again.
-- KEYS jobs
-- ARGV group, first entry, most entries
-- Returns how many entries the page has, the last of them ('' if it has none), and those that are pending or not delivered yet, as XRANGE gives them.
local page = redis.call('XRANGE', KEYS[1], ARGV[2], '+', 'COUNT', ARGV[3])
if #page == 0 then
  return { 0, '', page }
end
local from, to, last = page[1][1], page[#page][1], delivered(KEYS[1], ARGV[1])
local pending, left = {}, last and not before(last, from)
while left do -- what was deleted behind our back is pending as well
  local some = redis.call('XPENDING', KEYS[1], ARGV[1], from, to, 1000)
  for _, entry in ipairs(some) do
    pending[entry[1]] = true
    from = '(' .. entry[1]
  end
  left = #some == 1000
end
local live = {}
for _, entry in ipairs(page) do
  if not last or pending[entry[1]] or before(last, entry[1]) then
    live[#live + 1] = entry
  end
end
return { #page, to, live }

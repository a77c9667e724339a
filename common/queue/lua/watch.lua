-- watch: what would keep jobs from being delivered for ever is mended. None of it comes of Drover's own doing, but others may write to
-- Redis.
-- KEYS jobs, delayed, marker
-- ARGV group, bytes that are too many
-- Returns the marker ('' if there is none), then what was mended, in words.
local said = {}
for i, want in ipairs({ 'stream', 'zset', 'string' }) do
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= want and is ~= 'none' then
    redis.call('UNLINK', KEYS[i])
    said[#said + 1] = 'a key was a ' .. is .. ', not a ' .. want
  end
end
-- Rows' jobs are bounded in bytes, all others are a few bytes each: more was put there by others, and would be handed to whoever reads.
for i, count in ipairs({ 'XLEN', 'ZCARD' }) do
  local n = redis.call(count, KEYS[i])
  local bytes = redis.call('MEMORY', 'USAGE', KEYS[i], 'SAMPLES', n <= 10000 and 0 or 5)
  if bytes and bytes > tonumber(ARGV[2]) + n * 512 then
    redis.call('UNLINK', KEYS[i])
    said[#said + 1] = 'a key held ' .. bytes .. ' bytes'
  end
end
local function field(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then
      return list[i + 1]
    end
  end
end
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
local delivered
for _, group in ipairs(groups.err and {} or groups) do
  if field(group, 'name') == ARGV[1] then
    delivered = field(group, 'last-delivered-id')
  end
end
local first = delivered and redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if delivered and string.sub(field(redis.call('XINFO', 'STREAM', KEYS[1]), 'last-generated-id'), 1, 21) == '18446744073709551615-' then
  redis.call('UNLINK', KEYS[1])
  said[#said + 1] = 'the stream had no number left for an entry'
elseif first then
  -- The oldest entry is either still to be delivered or pending at a consumer; otherwise nobody gets it.
  local nextone = redis.pcall('XRANGE', KEYS[1], '(' .. delivered, '+', 'COUNT', 1)
  local unread = not nextone.err and #nextone > 0 and nextone[1][1] == first[1]
  if not unread and #redis.call('XPENDING', KEYS[1], ARGV[1], first[1], first[1], 1) == 0 then
    redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], '0')
    said[#said + 1] = 'the group was behind entries that nobody had'
  end
end
table.insert(said, 1, redis.call('GET', KEYS[3]) or '')
return said

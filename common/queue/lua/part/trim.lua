-- trim: part of the scripts by which entries go. What lies before the oldest entry that is pending, or was delivered last where none is, is
-- acknowledged, and goes: whole nodes at once, whereas XDEL looks for each entry from the beginning of its node.
-- Returns the oldest entry that is pending, '' if none is; false if nobody knows: what was acknowledged has to be deleted by itself.
local function trim(key, group)
  local pending = redis.pcall('XPENDING', key, group)
  if pending.err then
    return false
  end
  if pending[1] > 0 then
    redis.call('XTRIM', key, 'MINID', pending[2])
    return pending[2]
  end
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local name, last
    for i = 1, #info, 2 do
      name = info[i] == 'name' and info[i + 1] or name
      last = info[i] == 'last-delivered-id' and info[i + 1] or last
    end
    if name == group then
      redis.call('XTRIM', key, 'MINID', last)
      redis.call('XDEL', key, last)
      return ''
    end
  end
  return false
end

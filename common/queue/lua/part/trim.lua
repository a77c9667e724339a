-- trim: part of the scripts by which entries go. What lies before the oldest entry that is pending was acknowledged, as far as the group has come,
-- and goes: whole nodes at once, whereas XDEL looks for each entry from the beginning of its node.
-- Returns the oldest entry that is pending, '' if none is; false if nobody knows: what was acknowledged has to be deleted by itself.
local function before(a, b)
  local a1, a2 = string.match(a, '(%d+)-(%d+)')
  local b1, b2 = string.match(b, '(%d+)-(%d+)')
  if a1 == b1 then
    a1, b1 = a2, b2
  end
  return #a1 < #b1 or (#a1 == #b1 and a1 < b1)
end
local function delivered(key, group)
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local name, last
    for i = 1, #info, 2 do
      name = info[i] == 'name' and info[i + 1] or name
      last = info[i] == 'last-delivered-id' and info[i + 1] or last
    end
    if name == group then
      return last
    end
  end
end
local function trim(key, group)
  local pending = redis.pcall('XPENDING', key, group)
  if pending.err then
    return false
  end
  local oldest, last = pending[2], delivered(key, group)
  if oldest and not before(last, oldest) then
    redis.call('XTRIM', key, 'MINID', oldest)
  else
    redis.call('XTRIM', key, 'MINID', last)
    redis.call('XDEL', key, last)
  end
  return oldest or ''
end

-- A token above a generation; or what others do; or the lease. As `Shelf::ask`.
-- KEYS: token, lease, failure. ARGV: generation, owner, lease in ms; generation and token under a name by an older key.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What is no hash is not ours: as good as nothing.
local value = redis.pcall('HMGET', KEYS[1], 'generation', 'sealed')
local newest, sealed = 0, false
for _, one in ipairs({ { ARGV[4], ARGV[5] }, { value[1], value[2] } }) do
  local generation = tonumber(one[1])
  if generation and one[2] and generation <= now + 3600000 and generation >= newest then
    newest, sealed = generation, one[2]
  end
end
if newest > tonumber(ARGV[1]) then
  return { 'value', newest, sealed, now }
end

local owner = redis.pcall('GET', KEYS[2])
if redis.call('PTTL', KEYS[2]) > 0 and owner ~= ARGV[2] then
  return { 'held' }
end

local failure = redis.pcall('HMGET', KEYS[3], 'sealed', 'in_a_row', 'told_from')
local in_a_row, told_from = tonumber(failure[2]), tonumber(failure[3])
if failure[1] and in_a_row and told_from and in_a_row >= told_from then
  local left = redis.call('PTTL', KEYS[3])
  if left > 0 then
    return { 'failed', failure[1], left }
  end
end

redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return { 'taken', math.max(now, newest + 1), now }

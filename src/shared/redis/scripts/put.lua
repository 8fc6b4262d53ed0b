-- Stores how a token request ended, and gives the lease back. As `Shelf::put`.
-- KEYS: token, lease, failure. ARGV: owner, then what it is: value, generation, sealed, end; failure, told from, sealed, ms; nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local is_ours = redis.pcall('GET', KEYS[2]) == ARGV[1]
if is_ours then
  redis.call('DEL', KEYS[2])
end

if ARGV[2] == 'value' then
  local generation = tonumber((redis.pcall('HMGET', KEYS[1], 'generation'))[1])
  local is_newer = not generation or generation > now + 3600000 or tonumber(ARGV[3]) > generation
  if is_newer and tonumber(ARGV[5]) > now then
    redis.call('DEL', KEYS[1], KEYS[3])
    redis.call('HSET', KEYS[1], 'generation', ARGV[3], 'sealed', ARGV[4])
    redis.call('PEXPIREAT', KEYS[1], ARGV[5])
  end
elseif ARGV[2] == 'failure' and is_ours then
  local in_a_row = tonumber((redis.pcall('HMGET', KEYS[3], 'in_a_row'))[1]) or 0
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], 'in_a_row', in_a_row + 1, 'told_from', ARGV[3], 'sealed', ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
return { 'done' }

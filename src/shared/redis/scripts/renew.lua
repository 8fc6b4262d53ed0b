-- Makes the lease last from now on, if it is still held. As `Shelf::renew`.
-- KEYS: token, lease, failure. ARGV: owner, lease in ms.
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return { 'renewed' }
end
return { 'lost' }

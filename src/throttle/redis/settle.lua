-- Gives back what a successful attempt took, and forgets that its account was tried. The twin of `throttle::reserve::settle`.
--
-- Why one script: all of it or nothing is given back. Why safe to repeat: it removes units of this attempt by name; what
-- is not there is not removed, so that no window ever holds more places than its start.
--
-- KEYS   the windows that may hold a unit of the attempt, then those that may hold the account
-- ARGV   1 attempt id, 16 bytes   2 the account as it was said, a digest of 16 bytes
--        3 how many of the keys are of the first kind
-- Reply  how many units were given back
local removed, of_attempt = 0, tonumber(ARGV[3])
for place, key in ipairs(KEYS) do
  removed = removed + redis.call('ZREM', key, place <= of_attempt and ARGV[1] or ARGV[2])
end
return removed

-- Gives back what a successful attempt took, and forgets that its account was tried. The twin of `throttle::reserve::settle`.
--
-- Why one script: all of it or nothing is given back. Why safe to repeat: it removes units of this attempt by name; what
-- is not there is not removed, so that no window ever holds more places than its start.
--
-- KEYS   1 interaction   2 its overflow   3 calling number   4 its overflow   5 account
--        6 client   7 agent   8 fleet
-- ARGV   1 attempt id, 16 bytes   2 the account as it was said, a digest of 16 bytes
-- Reply  how many units were given back
local removed = 0
for place = 1, 8 do
  removed = removed + redis.call('ZREM', KEYS[place], place <= 5 and ARGV[1] or ARGV[2])
end
return removed

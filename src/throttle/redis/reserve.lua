-- Takes the places of one attempt: interaction, calling number, then account. The twin of `throttle::reserve` and
-- `throttle::budget`; a property test holds the three equal.
--
-- Why one script: Redis runs it alone, so that of a thousand attempts at once no more than the cap find a place, and a
-- spent source never reaches the account. Why safe to repeat: a place is named by the attempt that took it, and who has
-- one takes none (a Cluster's driver repeats by itself).
--
-- All keys have one hash tag, so that a Cluster holds them in one slot. A window is a sorted set of members by the time
-- at which each took its place, in microseconds. Times go to Redis as text('%.0f'): Lua's own form loses digits.
--
-- KEYS   1 marker: what the store knows about its own past; the one key without an expiry
--        2 interaction   3 its overflow   4 calling number   5 its overflow   (4 and 5 unused when ARGV[5] is 0)
--        6 new keys of the client in this minute
--        7 client   8 agent (unused when ARGV[6] is 0)   9 fleet: the accounts that were tried, over each
--       10 account
-- ARGV   1 attempt id, 16 bytes   2 the account as it was said, a digest of 16 bytes
--        3 now, in microseconds; empty: the time of this server
--        4 unfamiliar lane?   5 has a number?   6 has an agent?   7 is nobody?   (1 or 0)
--        8 tries of an interaction   9 the same, narrowed   10 failures of a number   11 the same, narrowed
--       12 failures of the account   13 new keys of a client in a minute
--       14 accounts at a client   15 by an agent   16 at all, before an alarm   17 their span, in microseconds
--       18 span of every other window   19 no unit is kept longer than this by any clock, in microseconds
-- Reply  1 places: 0 granted, 1 refused by the interaction, 2 by the number
--        2 narrowed?   3 tries left   4 microseconds from now until there is a place again; -1: none to tell
--        5 does the account have a place?   6 alarms that begin: 1 client + 2 agent + 4 fleet + 8 counters lost

local attempt, said = ARGV[1], ARGV[2]
local is_unfamiliar, has_number, has_agent, is_nobody = ARGV[4] == '1', ARGV[5] == '1', ARGV[6] == '1', ARGV[7] == '1'
local spread_span, span, longest_kept = tonumber(ARGV[17]), tonumber(ARGV[18]), tonumber(ARGV[19])

local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function text(number) return string.format('%.0f', number) end

-- Drops what is older than `over`. Returns the time that counts for this key, which never goes back, and how many units
-- are left. What a wrong clock dated far ahead is dated anew, so that it locks nobody out for longer than a window.
local function advance(key, over)
  local newest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  if not newest[1] then return now, 0 end
  if newest[2] - now > longest_kept then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. text(now + longest_kept), '+inf')) do
      redis.call('ZADD', key, text(now), member)
    end
    newest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  end
  local here = math.max(now, tonumber(newest[2]))
  redis.call('ZREMRANGEBYSCORE', key, '-inf', text(here - over))
  return here, redis.call('ZCARD', key)
end

-- The key is gone an hour after its newest unit counts no more: within 25 hours.
local function put(key, member, at, over)
  redis.call('ZADD', key, text(at), member)
  redis.call('PEXPIRE', key, text(over / 1000 + 3600000))
end

-- Takes a unit of an advanced window, unless the attempt has one. Returns whether it has one now, and how many are taken.
local function take(key, cap, here, live)
  if live > 0 and redis.call('ZSCORE', key, attempt) then return true, live end
  if live >= cap then return false, live end
  put(key, attempt, here, span)
  return true, live + 1
end

-- How long until fewer than `cap` units are left, should none be given back.
local function frees_in(key, cap, live)
  local place = math.max(0, live - cap)
  local in_the_way = redis.call('ZRANGE', key, place, place, 'WITHSCORES')
  return (tonumber(in_the_way[2]) or now) + span - now
end

-- What the store knows about its own past: until when it is under suspicion, and whose attempt began that. The first
-- command may need memory and may write, so that a full server and a replica refuse the script before it changed anything.
local begins = text(now + span) .. ':' .. attempt
redis.call('SETNX', KEYS[1], begins)
local marker = redis.call('GET', KEYS[1])
local colon = string.find(marker, ':', 1, true) or 0
local suspect_until, begun_by = tonumber(string.sub(marker, 1, colon - 1)), string.sub(marker, colon + 1)
if not suspect_until then
  suspect_until, begun_by = now + span, attempt
  redis.call('SET', KEYS[1], begins)
end
local raised = begun_by == attempt and 8 or 0
local is_suspect = is_unfamiliar and now < suspect_until and suspect_until - now <= longest_kept

-- Over whom different accounts are counted.
local scopes = { { key = KEYS[7], cap = tonumber(ARGV[14]), alarm = 1 } }
if has_agent then scopes[2] = { key = KEYS[8], cap = tonumber(ARGV[15]), alarm = 2 } end
scopes[#scopes + 1] = { key = KEYS[9], cap = tonumber(ARGV[16]), alarm = 4 }

local is_alarmed = false
if is_unfamiliar then
  for _, scope in ipairs(scopes) do
    scope.here, scope.live = advance(scope.key, spread_span)
    is_alarmed = is_alarmed or scope.live >= scope.cap
  end
end
local narrowed = (is_alarmed or is_suspect) and 1 or 0

-- The cap that goes now. Under suspicion a window starts half spent: rounded down, at least 1 is left.
local function cap_of(full, narrow)
  local cap = is_alarmed and narrow or full
  if is_suspect then cap = math.min(cap, full - math.floor(full / 2)) end
  return cap
end
local interaction_cap = cap_of(tonumber(ARGV[8]), tonumber(ARGV[9]))
local number_cap = cap_of(tonumber(ARGV[10]), tonumber(ARGV[11]))
local account_full = tonumber(ARGV[12])
local account_cap = cap_of(account_full, account_full)

-- Counts one more new key of the client in this minute, and says whether they are too many.
local function is_one_too_many()
  local minute, keys = text(math.floor(now / 60000000)), 1
  local counted = redis.call('GET', KEYS[6])
  if counted and string.sub(counted, 1, #minute + 1) == minute .. ':' then
    keys = tonumber(string.sub(counted, #minute + 2)) + 1
  end
  redis.call('SET', KEYS[6], minute .. ':' .. text(keys), 'PX', 120000)
  return keys > tonumber(ARGV[13])
end

-- A counter of the source: its own, or, for a new one too many of a client, a shared one. A familiar line is bounded by the
-- directory, always has its own, and is looked at only when its turn comes.
local function source(own, shared)
  if not is_unfamiliar then return { key = own } end
  local here, live = advance(own, span)
  if live == 0 and is_one_too_many() then
    here, live = advance(shared, span)
    return { key = shared, here = here, live = live }
  end
  return { key = own, here = here, live = live }
end

local function take_of(counter, cap)
  if not counter.here then counter.here, counter.live = advance(counter.key, span) end
  return take(counter.key, cap, counter.here, counter.live)
end

local interaction = source(KEYS[2], KEYS[3])
local number = has_number and source(KEYS[4], KEYS[5])

local has_place, live = take_of(interaction, interaction_cap)
if not has_place then return { 1, narrowed, 0, -1, 0, raised } end
local tries_left = math.max(0, interaction_cap - live)

local retry_in = -1
if number then
  has_place, live = take_of(number, number_cap)
  if not has_place then
    return { 2, narrowed, 0, frees_in(number.key, number_cap, live), 0, raised }
  end
  local left = math.max(0, number_cap - live)
  if left == 0 then retry_in = frees_in(number.key, number_cap, live) end
  tries_left = math.min(tries_left, left)
end

-- The account counts as tried. An alarm begins when the last free place is taken; noting beyond it keeps the alarm from
-- ending with its oldest entry while the spray goes on, and twice is enough.
for _, scope in ipairs(scopes) do
  if not scope.live then scope.here, scope.live = advance(scope.key, spread_span) end
  if scope.live < scope.cap * 2 and not redis.call('ZSCORE', scope.key, said) then
    put(scope.key, said, scope.here, spread_span)
    if scope.live + 1 == scope.cap then raised = raised + scope.alarm end
  end
end

-- The account last. Nobody is never told that one of the shared dummies is spent.
local here, taken = advance(KEYS[10], span)
has_place = take(KEYS[10], account_cap, here, taken) or is_nobody
return { 0, narrowed, tries_left, retry_in, has_place and 1 or 0, raised }

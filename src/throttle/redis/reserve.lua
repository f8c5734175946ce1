-- Takes the places of one attempt: interaction, calling number, then account. The twin of `throttle::reserve` and
-- `throttle::budget`; a property test holds the three equal.
--
-- Why one script: Redis runs it alone, so that of a thousand attempts at once no more than the cap find a place, and a
-- spent source never reaches the account. Why safe to repeat: a place is named by the attempt that took it, and who has
-- one takes none (a Cluster's driver repeats by itself). Why no half of it on a full server or a replica: both refuse
-- the first command that adds something, nothing is granted without one, and none comes after another kind of write but
-- the dropping of what counts no more.
--
-- All keys have one hash tag, so that a Cluster holds them in one slot. A window is a sorted set of members by the time
-- at which each took its place, in microseconds. Times go to Redis as text('%d'): Lua's own form loses digits.
--
-- Commands are what this costs, some 1 µs each, and printing scores most: ZRANGE with scores, and numbers instead of
-- text as arguments, are for what is rare (docs/performance.md).
--
-- SETTINGS, which the caller puts in front of this text as locals; durations in microseconds
--        INTERACTION, NUMBER: tries of an interaction, failures of a number   NARROW_…: the same, narrowed
--        NEW_KEYS: new keys of a client in a minute
--        CLIENT_ACCOUNTS, AGENT_ACCOUNTS, FLEET_ACCOUNTS: accounts before an alarm   SPREAD_SPAN: their span
--        SPAN: of every other window   LONGEST_KEPT: no unit is kept longer than this by any clock
-- KEYS   1 marker: what the store knows about its own past; the one key without an expiry
--        2 account   3 interaction   4 client   5 fleet: the accounts that were tried, over each
--        then, in the unfamiliar lane: new keys of the client in this minute, and the overflow of the interaction;
--        then, with a number: the number and, in the unfamiliar lane, its overflow;
--        the last, with an agent: the agent, as client
-- ARGV   1 attempt id, 16 bytes   2 the account as it was said, a digest of 16 bytes
--        3 unfamiliar lane?   4 has a number?   5 has an agent?   6 is nobody?   (1 or 0)
--        7 failures of the account   8 now, in microseconds; none: the time of this server
-- Reply  1 places: 0 granted, 1 refused by the interaction, 2 by the number
--        2 narrowed?   3 tries left   4 microseconds from now until there is a place again; -1: none to tell
--        5 does the account have a place?   6 alarms that begin: 1 client + 2 agent + 4 fleet + 8 counters lost

local call = redis.call
local attempt, said, account_full = ARGV[1], ARGV[2], tonumber(ARGV[7])
local is_unfamiliar, has_number, has_agent, is_nobody = ARGV[3] == '1', ARGV[4] == '1', ARGV[5] == '1', ARGV[6] == '1'

local now = tonumber(ARGV[8])
if not now then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function text(number) return string.format('%d', number) end
local now_text = text(now)
local after_span, after_spread_span = '(' .. text(now - SPAN), '(' .. text(now - SPREAD_SPAN)

-- A window without what is older than its span; `after` is how that is written. `at` is the time that counts for this
-- key, which never goes back, and `live` how many units are left. What a wrong clock dated far ahead is dated anew, so
-- that it locks nobody out for longer than a window.
local function advance(key, span, after)
  local units = call('ZCARD', key)
  if units == 0 or call('ZCOUNT', key, after, now_text) == units then
    return { key = key, span = span, at = now_text, live = units }
  end
  for _, member in ipairs(call('ZRANGEBYSCORE', key, '(' .. text(now + LONGEST_KEPT), '+inf')) do
    call('ZADD', key, now_text, member)
  end
  local newest = call('ZRANGE', key, -1, -1, 'WITHSCORES')
  local here = math.max(now, tonumber(newest[2]))
  units = units - call('ZREMRANGEBYSCORE', key, '-inf', text(here - span))
  return { key = key, span = span, at = text(here), live = units }
end

-- Adds a unit, unless the member has one; whether it had none. The key is gone an hour after its newest unit counts no
-- more, within 25 hours; what goes on for another half an hour is let be.
local function put(window, member)
  if call('ZADD', window.key, 'NX', window.at, member) == 0 then return false end
  local life = window.span / 1000 + 3600000
  local left = window.live > 0 and call('PTTL', window.key) or -1
  if left < life - 1800000 or left > life then call('PEXPIRE', window.key, life) end
  window.live = window.live + 1
  return true
end

-- Takes a unit, unless the attempt has one. Whether it has one now.
local function take(window, cap)
  if window.live >= cap then return call('ZSCORE', window.key, attempt) end
  put(window, attempt)
  return true
end

-- How long until fewer than `cap` units are left, should none be given back.
local function frees_in(window, cap)
  local place = math.max(0, window.live - cap)
  local in_the_way = call('ZRANGE', window.key, place, place, 'WITHSCORES')
  return (tonumber(in_the_way[2]) or now) + SPAN - now
end

-- What the store knows about its own past: until when it is under suspicion, and whose attempt began that.
local marker = call('GET', KEYS[1])
local suspect_until, begun_by
if marker then
  local colon = string.find(marker, ':', 1, true) or 0
  suspect_until, begun_by = tonumber(string.sub(marker, 1, colon - 1)), string.sub(marker, colon + 1)
end
if not suspect_until then
  suspect_until, begun_by = now + SPAN, attempt
  call('SET', KEYS[1], text(suspect_until) .. ':' .. attempt)
end
local raised = begun_by == attempt and 8 or 0
local is_suspect = is_unfamiliar and now < suspect_until and suspect_until - now <= LONGEST_KEPT

-- Over whom different accounts are counted. A familiar caller is not asked, and they are looked at when their turn comes.
local scopes = { { key = KEYS[4], cap = CLIENT_ACCOUNTS, alarm = 1 }, { key = KEYS[5], cap = FLEET_ACCOUNTS, alarm = 4 } }
if has_agent then scopes[3] = { key = KEYS[#KEYS], cap = AGENT_ACCOUNTS, alarm = 2 } end
local is_alarmed = false
if is_unfamiliar then
  for _, scope in ipairs(scopes) do
    scope.tried = advance(scope.key, SPREAD_SPAN, after_spread_span)
    is_alarmed = is_alarmed or scope.tried.live >= scope.cap
  end
end
local narrowed = (is_alarmed or is_suspect) and 1 or 0

-- The cap that goes now. Under suspicion a window starts half spent: rounded down, at least 1 is left.
local function cap_of(full, narrow)
  local cap = is_alarmed and narrow or full
  if is_suspect then cap = math.min(cap, full - math.floor(full / 2)) end
  return cap
end

-- New keys of the client in this minute, as far as they were counted.
local minute = text(math.floor(now / 60000000)) .. ':'
local new_keys, is_counting

-- A counter of the source: its own, or, for a new one too many of a client, a shared one. A familiar line is bounded by
-- the directory and always has its own.
local function source(own, shared)
  local window = advance(own, SPAN, after_span)
  if not is_unfamiliar or window.live > 0 then return window end
  if not new_keys then
    local counted = call('GET', KEYS[6])
    is_counting = counted and string.sub(counted, 1, #minute) == minute
    new_keys = is_counting and tonumber(string.sub(counted, #minute + 1)) or 0
  end
  new_keys = new_keys + 1
  if new_keys > NEW_KEYS then return advance(shared, SPAN, after_span) end
  return window
end

local interaction = source(KEYS[3], KEYS[7])
local number_key, shared_number = KEYS[is_unfamiliar and 8 or 6], KEYS[9]
local number = is_unfamiliar and has_number and source(number_key, shared_number)
if new_keys and is_counting then
  call('SET', KEYS[6], minute .. text(new_keys), 'KEEPTTL')
elseif new_keys then
  call('SET', KEYS[6], minute .. text(new_keys), 'PX', 120000)
end

local interaction_cap = cap_of(INTERACTION, NARROW_INTERACTION)
if not take(interaction, interaction_cap) then return { 1, narrowed, 0, -1, 0, raised } end
local tries_left = math.max(0, interaction_cap - interaction.live)

local retry_in = -1
if has_number then
  local number_cap = cap_of(NUMBER, NARROW_NUMBER)
  -- That of a familiar line is looked at only when its turn comes.
  number = number or source(number_key)
  if not take(number, number_cap) then return { 2, narrowed, 0, frees_in(number, number_cap), 0, raised } end
  local left = math.max(0, number_cap - number.live)
  if left == 0 then retry_in = frees_in(number, number_cap) end
  tries_left = math.min(tries_left, left)
end

-- The account counts as tried. An alarm begins when the last free place is taken; noting beyond it keeps the alarm from
-- ending with its oldest entry while the spray goes on, and twice is enough.
for _, scope in ipairs(scopes) do
  local tried = scope.tried or advance(scope.key, SPREAD_SPAN, after_spread_span)
  if tried.live < scope.cap * 2 and put(tried, said) and tried.live == scope.cap then raised = raised + scope.alarm end
end

-- The account last. Nobody is never told that one of the shared dummies is spent.
local has_place = take(advance(KEYS[2], SPAN, after_span), cap_of(account_full, account_full)) or is_nobody
return { 0, narrowed, tries_left, retry_in, has_place and 1 or 0, raised }

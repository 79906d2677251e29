// What runs on the server in one step, in Lua. ARGV[1] is the group G, KEYS are the stream S and everything of the
// group, under names that share the stream's slot:
//
//   {S}:retry:G   stream: what is ready to be handed out again    {S}:held:G, {S}:due:G   stream and ZSET: what waits
//   for its time {S}:alone:G   stream: what a dead instance held               {S}:dead:G   stream: dead letters
//   {S}:state:G   hash: handled, ignored, paused, owner           {S}:live:G   ZSET: instances by the end of their
//   lease {S}:types:G   hash: instance → types                          {S}:gaps:G   list: what retention removed
//   before the group had it
//
// An entry of the private streams carries its event and what the group knows of it: attempt (failures so far), crashes,
// origin, run, pos (its id in S), first and last (milliseconds of its failures).
#include "transport/redis/nodes.hpp"

namespace tidings::transport::redis {
namespace {

constexpr const char* prelude = R"lua(
local S, R, A, W, D, X, T, L, Y, Q = unpack(KEYS)
local G = ARGV[1]
local call = redis.call
local function clock(text)
  if text ~= '' then return tonumber(text) end
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function whole(number) return string.format('%.0f', number) end
local function record_of(key, entry)
  local id, fields = entry[1], entry[2]
  local r = {attempt = '0', crashes = '0', origin = 'live', run = '0', pos = id, first = '', last = ''}
  r.event = fields[2]
  if key == S then
    local named = false
    for i = 1, #fields, 2 do if fields[i] == 'event' then r.event, named = fields[i + 1], true end end
    if not named and #fields > 2 then r.event = table.concat(fields, ' ') end
  else
    for i = 1, #fields, 2 do r[fields[i]] = fields[i + 1] end
  end
  return r
end
local function record(key, id)
  local found = call('XRANGE', key, id, id)
  return found[1] and record_of(key, found[1])
end
local function put(key, r)
  local words = {'XADD', key, '*', 'event', r.event, 'attempt', r.attempt, 'crashes', r.crashes, 'origin', r.origin, 'run', r.run,
                 'pos', r.pos, 'first', r.first, 'last', r.last}
  if r.reason then
    words[#words + 1] = 'reason'
    words[#words + 1] = r.reason
    words[#words + 1] = 'error'
    words[#words + 1] = r.error
  end
  return call(unpack(words))
end
local function hold(r, due) call('ZADD', D, whole(due), put(W, r)) end
local function take(key, id)
  if call('XACK', key, G, id) == 0 then return false end
  if key ~= S then call('XDEL', key, id) end
  return true
end
local function member(instance)
  local score = call('ZSCORE', L, instance)
  return score and tonumber(score) > 0
end
local function less(a, b)
  local am, as = string.match(a, '(%d+)-(%d+)')
  local bm, bs = string.match(b, '(%d+)-(%d+)')
  if tonumber(am) ~= tonumber(bm) then return tonumber(am) < tonumber(bm) end
  return tonumber(as) < tonumber(bs)
end
-- Whether nobody holds an entry only because somebody destroyed the group, or the consumer that held it: then it is
-- still whose it was, since nobody is given it again. What stands behind all that the group has read comes again.
local function forgotten(key, id)
  if key ~= S and #call('XRANGE', key, id, id) == 0 then return false end
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  for _, info in ipairs(groups) do
    local group = {}
    for i = 1, #info, 2 do group[info[i]] = info[i + 1] end
    if group.name == G then return not less(group['last-delivered-id'], id) end
  end
  return true
end
-- Whether a member that was given an entry may settle it, or the error that kept the answer. `clear`: it never tried;
-- `me`: nobody else may hold it.
local function held(key, id, clear, me)
  local entry = redis.pcall('XPENDING', key, G, id, id, 1)
  if entry.err and not string.find(entry.err, 'NOGROUP') then return false, entry.err end
  if not entry.err and #entry > 0 then return not me or entry[1][2] == me end
  return clear and forgotten(key, id)
end
local function waiting(key)
  local ok = redis.pcall('XPENDING', key, G)
  if ok.err then return 0 end
  return call('XLEN', key) - ok[1]
end
)lua";

// Gives records back to R in the order of their positions, together with what nobody has read there yet: who reads next
// finds all of it in the order in which it was published. So long a backlog that moving it would hold up the server
// stays where it is.
constexpr const char* give_back = R"lua(
local function give_back(records)
  if #records == 0 then return end
  local last, most, known = '0-0', 10000, redis.pcall('XINFO', 'GROUPS', R)
  for _, info in ipairs(known.err and {} or known) do
    local fields = {}
    for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
    if fields.name == G then last = fields['last-delivered-id'] end
  end
  local function position(r) return string.find(r.pos, '^%d+-%d+$') and r.pos or '0-0' end
  local lowest = position(records[1])
  for _, r in ipairs(records) do if less(position(r), lowest) then lowest = position(r) end end
  local unread = call('XRANGE', R, '(' .. last, '+', 'COUNT', most)
  for _, entry in ipairs(#unread < most and unread or {}) do
    local r = record_of(R, entry)
    if not less(position(r), lowest) then
      call('XDEL', R, entry[1])
      records[#records + 1] = r
    end
  end
  for i, r in ipairs(records) do r.place = i end
  table.sort(records, function(a, b)
    if position(a) == position(b) then return a.place < b.place end
    return less(position(a), position(b))
  end)
  for _, r in ipairs(records) do put(R, r) end
end
)lua";

// ARGV: G, me, now, lease, types, owner, start, whether that is where we were before: then a stream that ends before it
// was made anew meanwhile, and is read from its beginning; then the ids of S that `me` holds, which are its own again
// where the group was destroyed. Returns OK, where the group began, which is where its other partitions begin, and
// whether it began just now; or the owner that stands there.
constexpr const char* join = R"lua(
local me, now, lease, types, owner, start, new = ARGV[2], clock(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7], 0
if owner ~= '' then
  local known = call('HGET', T, 'owner')
  if known and known ~= owner and known ~= '' then return known end
end
-- A server that is full refuses whatever would take room, unless something was written before it. Nothing makes room
-- there but the settlements of those that join, so this writes, and changes nothing.
call('HDEL', Y, '')
if owner ~= '' then call('HSET', T, 'owner', owner) end
if ARGV[8] == '1' then
  local info, last = redis.pcall('XINFO', 'STREAM', S), '0-0'
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
  if less(last, start) then start = '0' end
end
for _, key in ipairs({S, R, A}) do
  local made = redis.pcall('XGROUP', 'CREATE', key, G, key == S and start or '0', 'MKSTREAM')
  if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
  if not made.err and key == S then
    -- Not now .. '-0', which another partition may be given for an event of this very millisecond.
    call('HSET', T, 'start', start == '$' and whole(now - 1) .. '-18446744073709551615' or start)
    new = 1
  end
end
for i = 9, #ARGV do
  if #call('XPENDING', S, G, ARGV[i], ARGV[i], 1) == 0 and forgotten(S, ARGV[i]) then
    call('XCLAIM', S, G, me, 0, ARGV[i], 'FORCE', 'JUSTID')
  end
end
call('ZADD', L, whole(now + lease), me)
call('HSET', Y, me, types)
return {'OK', call('HGET', T, 'start') or '0', new}
)lua";

// ARGV: G, me, now, limit, gaps that were told …. Moves what is due; returns {live, paused, alone, retry, next due or
// -1, now, types, gaps …}.
constexpr const char* look = R"lua(
local me, now = ARGV[2], clock(ARGV[3])
if not member(me) then return {0} end
for i = 5, #ARGV do call('LREM', Q, 1, ARGV[i]) end
for _, id in ipairs(call('ZRANGEBYSCORE', D, '-inf', whole(now), 'LIMIT', 0, ARGV[4])) do
  local r = record(W, id)
  call('XDEL', W, id)
  call('ZREM', D, id)
  if r then put(R, r) end
end
local next, due = call('ZRANGE', D, 0, 0, 'WITHSCORES'), '-1'
if #next > 0 then due = next[2] end
local types = {}
for _, instance in ipairs(call('ZRANGEBYSCORE', L, whole(now), '+inf')) do types[#types + 1] = call('HGET', Y, instance) or '' end
local gaps = call('LRANGE', Q, 0, -1)
local orphans = #call('ZRANGEBYSCORE', L, '-inf', '(' .. whole(now), 'LIMIT', 0, 1)
return {1, call('HGET', T, 'paused') or '0', waiting(A), waiting(R), due, whole(now), table.concat(types), orphans, gaps}
)lua";

// ARGV: G, me, now, done ids of S: count, ids …; ignored ids of S: count, ids …; then per item: kind, source (S, R or
// A), id, whether no settlement of it was sent before, after, counted, reason, error, event (for an entry that was
// deleted meanwhile), outputs: count, (stream, event) …. Returns 0 when `me` is no member any more, else what became of
// each of the latter.
constexpr const char* settle = R"lua(
local me, now, at = ARGV[2], clock(ARGV[3]), 4
if not member(me) then return 0 end
local function next_word()
  at = at + 1
  return ARGV[at - 1]
end
for _, counter in ipairs({'handled', 'ignored'}) do
  local left, acked = tonumber(next_word()), 0
  while left > 0 do
    local words = {'XACK', S, G}
    for i = 1, math.min(left, 1000) do words[#words + 1] = next_word() end
    left = left - (#words - 3)
    acked = acked + call(unpack(words))
  end
  if acked > 0 then call('HINCRBY', T, counter, acked) end
end
local sources, results, back = {S = S, R = R, A = A}, {}, {}
while at <= #ARGV do
  local kind, key, id, clear = next_word(), sources[next_word()], next_word(), next_word() == '1'
  local after, counted = tonumber(next_word()), next_word()
  local reason, error, event, outputs = next_word(), next_word(), next_word(), tonumber(next_word())
  local r = record(key, id) or {event = event, attempt = '0', crashes = '0', origin = 'live', run = '0', pos = id, first = '', last = ''}
  local stored, ours, failed = {}, held(key, id, clear)
  for i = 1, outputs do
    local stream, event = next_word(), next_word()
    if ours and not failed then
      local made = redis.pcall('XADD', stream, '*', 'event', event)
      if type(made) == 'table' then
        failed = made.err
        for _, each in ipairs(stored) do call('XDEL', each[1], each[2]) end
      else
        stored[#stored + 1] = {stream, made}
      end
    end
  end
  ours = ours and not failed
  if ours and not take(key, id) and key ~= S then call('XDEL', key, id) end
  if ours and kind == 'done' then call('HINCRBY', T, 'handled', 1) end
  if ours and kind == 'ignored' then call('HINCRBY', T, 'ignored', 1) end
  if ours and kind == 'release' then
    if after > 0 then hold(r, now + after) elseif key == A then put(A, r) else back[#back + 1] = r end
  end
  if ours and (kind == 'again' or kind == 'dead') then
    if kind == 'again' or counted == '1' then r.attempt = tostring(tonumber(r.attempt) + 1) end
    if r.first == '' then r.first = whole(now) end
    r.last = whole(now)
    r.error = error
    r.reason = reason
    if kind == 'dead' then
      put(X, r)
    else
      if r.origin == 'live' then r.origin = 'retry' end
      hold(r, now + after)
    end
  end
  results[#results + 1] = failed or (ours and 1 or 0)
end
give_back(back)
return results
)lua";

// ARGV: G, me, then of each item: source, id, and whether no settlement of it was sent before. Returns for each whether
// `me` holds it.
constexpr const char* holds = R"lua(
local sources, results, ours = {S = S, R = R, A = A}, {}, member(ARGV[2])
for i = 3, #ARGV, 3 do
  results[#results + 1] = ours and held(sources[ARGV[i]], ARGV[i + 1], ARGV[i + 2] == '1', ARGV[2]) and 1 or 0
end
return results
)lua";

// ARGV: G, me, now, lease. Returns 1 while `me` is a member.
constexpr const char* renew = R"lua(
if not member(ARGV[2]) then return 0 end
call('ZREM', L, ARGV[2])
call('ZADD', L, whole(clock(ARGV[3]) + tonumber(ARGV[4])), ARGV[2])
return 1
)lua";

// What `instance` holds, a page of it: to `alone` with one crash more when it died, else back as it was.
constexpr const char* empty = R"lua(
local function empty(instance, died, limit)
  local moved, back = 0, {}
  for _, key in ipairs({S, R, A}) do
    local page = redis.pcall('XPENDING', key, G, '-', '+', limit - moved, instance)
    if page.err then page = {} end
    for _, entry in ipairs(page) do
      local r = record(key, entry[1])
      if take(key, entry[1]) then
        if r then
          if died then r.crashes = tostring(tonumber(r.crashes) + 1) end
          if died or key == A then put(A, r) else back[#back + 1] = r end
        elseif key == S then
          -- Retention or an operator removed it while it was leased: nobody will get it, and the group is told.
          call('RPUSH', Q, entry[1] .. ' ' .. entry[1])
        end
      end
      moved = moved + 1
    end
    if moved >= limit then break end
  end
  give_back(back)
  if moved >= limit then return moved end
  for _, key in ipairs({S, R, A}) do redis.pcall('XGROUP', 'DELCONSUMER', key, G, instance) end
  call('ZREM', L, instance)
  call('HDEL', Y, instance)
  return moved
end
)lua";

// ARGV: G, now, limit. Takes over what dead instances held; returns how much was moved.
constexpr const char* orphans = R"lua(
local now, limit, moved = clock(ARGV[2]), tonumber(ARGV[3]), 0
for _, key in ipairs({S, R, A}) do
  local known = redis.pcall('XINFO', 'CONSUMERS', key, G)
  for _, info in ipairs(known.err and {} or known) do
    if info[4] > 0 and string.find(info[2], '/%d+%.%d+$') and not call('ZSCORE', L, info[2]) then
      call('ZREM', L, info[2])
      call('ZADD', L, 0, info[2])
    end
  end
end
for _, instance in ipairs(call('ZRANGEBYSCORE', L, '-inf', '(' .. whole(now))) do
  call('ZREM', L, instance)
  call('ZADD', L, 0, instance)
  moved = moved + empty(instance, true, limit - moved)
  if moved >= limit then break end
end
return moved
)lua";

// ARGV: G, me. Gives back, uncounted, what `me` holds.
constexpr const char* leave = R"lua(
while empty(ARGV[2], false, 1000) >= 1000 do end
return 1
)lua";

// ARGV: G, now, action, shelf (dead or held), id, event. Returns 1 when it was moved.
constexpr const char* move = R"lua(
local action, key, id = ARGV[3], ARGV[4] == 'dead' and X or W, ARGV[5]
local r = record(key, id)
if not r or call('XDEL', key, id) == 0 then return 0 end
if key == W then call('ZREM', D, id) end
if action == 'drop' then return 1 end
if action == 'replace' then r.event = ARGV[6] end
r.attempt, r.crashes, r.origin, r.first, r.last, r.reason = '0', '0', 'redrive', '', '', nil
put(R, r)
return 1
)lua";

// ARGV: G, now, then per item: state (dead, retrying, waiting), delay, event, attempt, crashes, origin, run, first,
// last, reason, error. Returns how many there were.
constexpr const char* shelve = R"lua(
local now, count = clock(ARGV[2]), 0
for at = 3, #ARGV, 11 do
  local state, delay = ARGV[at], tonumber(ARGV[at + 1])
  local r = {event = ARGV[at + 2], attempt = ARGV[at + 3], crashes = ARGV[at + 4], origin = ARGV[at + 5], run = ARGV[at + 6],
             pos = '0-0', first = ARGV[at + 7], last = ARGV[at + 8], reason = ARGV[at + 9], error = ARGV[at + 10]}
  if state == 'dead' then
    put(X, r)
  elseif state == 'retrying' and delay > 0 then
    hold(r, now + delay)
  else
    put(tonumber(r.crashes) > 0 and A or R, r)
  end
  count = count + 1
end
return count
)lua";

// ARGV: G, force: 1, 0, or count, which only looks. Removes the group; returns how much unsettled work stood in the
// way.
constexpr const char* remove = R"lua(
local work = call('XLEN', R) + call('XLEN', A) + call('ZCARD', D) + call('XLEN', X)
local pending = redis.pcall('XPENDING', S, G)
if pending.err then return -1 end
work = work + pending[1]
if ARGV[2] == 'count' or (work > 0 and ARGV[2] ~= '1') then return work end
call('XGROUP', 'DESTROY', S, G)
call('DEL', R, A, W, D, X, T, L, Y, Q)
return 0
)lua";

// KEYS: S, gaps of each group. ARGV: unused, oldest id to keep by age or '', most entries or '', group …: those that
// may be passed. Never past what another group has not read or holds. Returns {removed, passed group, first, last, …}.
constexpr const char* trim = R"lua(
local passable = {}
for i = 4, #ARGV do passable[ARGV[i]] = true end
local floor
local names = {}
for _, info in ipairs(call('XINFO', 'GROUPS', S)) do
  local group = {}
  for i = 1, #info, 2 do group[info[i]] = info[i + 1] end
  names[#names + 1] = group
  if not passable[group.name] then
    local pending = call('XPENDING', S, group.name)
    local low = group['last-delivered-id']
    local m, s = string.match(low, '(%d+)-(%d+)')
    low = tonumber(s) < 2^53 and m .. '-' .. whole(tonumber(s) + 1) or whole(tonumber(m) + 1) .. '-0'
    if pending[1] > 0 and less(pending[2], low) then low = pending[2] end
    if not floor or less(low, floor) then floor = low end
  end
end
local wanted = ARGV[2]
if ARGV[3] ~= '' then
  local extra = call('XLEN', S) - tonumber(ARGV[3])
  if extra > 0 then
    local keep = call('XRANGE', S, '-', '+', 'COUNT', extra + 1)
    local id = keep[#keep][1]
    if wanted == '' or less(wanted, id) then wanted = id end
  end
end
if wanted == '' then return {0} end
if floor and less(floor, wanted) then wanted = floor end
local result = {0}
local first = call('XRANGE', S, '-', '+', 'COUNT', 1)
if #first == 0 or not less(first[1][1], wanted) then return result end
local passed = {}
for _, group in ipairs(names) do
  if less(group['last-delivered-id'], wanted) then
    local after = '(' .. group['last-delivered-id']
    local lost = call('XRANGE', S, after, '(' .. wanted, 'COUNT', 1)
    if #lost > 0 then
      lost[2] = call('XREVRANGE', S, '(' .. wanted, after, 'COUNT', 1)[1]
      for _, word in ipairs({group.name, lost[1][1], lost[2][1]}) do passed[#passed + 1] = word end
    end
  end
end
-- A server that is full refuses whatever would take room, unless something was written before it.
result[1] = call('XTRIM', S, 'MINID', wanted)
for i = 1, #passed, 3 do
  call('RPUSH', '{' .. S .. '}:gaps:' .. passed[i], passed[i + 1] .. ' ' .. passed[i + 2])
  -- Right before the first that stays, so that nothing of it is passed over.
  call('XGROUP', 'SETID', S, passed[i], passed[i + 2])
end
for _, word in ipairs(passed) do result[#result + 1] = word end
return result
)lua";

// KEYS: where the number of a stream's partitions stands. ARGV: how many there are to be. Returns how many there are.
constexpr const char* partition = R"lua(
local known, wish = tonumber(call('GET', S) or '1'), tonumber(ARGV[1])
if known >= wish then return known end
call('SET', S, wish)
return wish
)lua";

}  // namespace

std::string script_text(Script script) {
  const auto with = [](auto... parts) { return (std::string(prelude) + ... + parts); };
  switch (script) {
    case Script::join:
      return with(join);
    case Script::look:
      return with(look);
    case Script::settle:
      return with(give_back, settle);
    case Script::holds:
      return with(holds);
    case Script::renew:
      return with(renew);
    case Script::orphans:
      return with(give_back, empty, orphans);
    case Script::leave:
      return with(give_back, empty, leave);
    case Script::move:
      return with(move);
    case Script::shelve:
      return with(shelve);
    case Script::remove:
      return with(remove);
    case Script::trim:
      return with(trim);
    case Script::partition:
      return with(partition);
  }
  return {};
}

}  // namespace tidings::transport::redis

#include "transport/memory/store.hpp"

#include <algorithm>
#include <set>

namespace tidings::memory {

using transport::GroupChange;
using transport::GroupRef;

namespace {

std::string named(GroupRef ref) { return "group " + std::string(ref.group) + " of " + std::string(ref.stream); }

std::vector<std::string> sorted(const std::set<std::string>& names) { return {names.begin(), names.end()}; }

}  // namespace

Stream& Store::stream(std::string_view name) {
  const auto it = streams.find(name);
  return it != streams.end() ? it->second : streams[std::string(name)];
}

Stream* Store::find(std::string_view name) {
  const auto it = streams.find(name);
  return it != streams.end() ? &it->second : nullptr;
}

Group& Store::group(GroupRef ref) {
  if (Stream* const known = find(ref.stream)) {
    if (const auto it = known->groups.find(ref.group); it != known->groups.end()) return *it->second;
  }
  throw Error(ErrorCode::not_found, "memory: there is no " + named(ref) + "; see the list of groups, or create it");
}

std::shared_ptr<Group> Store::make_group(std::uint64_t cursor) { return std::make_shared<Group>(cursor, &next_key_); }

Member& Store::join(const transport::Interest& interest, Now now) {
  for (const std::string& name : interest.streams) {
    const Stream* const known = is_command_stream(name) ? find(name) : nullptr;
    if (known == nullptr || known->owner.empty() || known->owner == interest.service) continue;
    throw Error(ErrorCode::conflict, "memory: " + name + " belongs to service " + known->owner + ", so service " +
                                         interest.service + " cannot read it; a command has one owner");
  }
  Member& member = members_.emplace_back();
  member.interest = interest;
  member.holder.instance = interest.instance;
  for (const std::string& name : interest.streams) {
    Stream& joined = stream(name);
    if (is_command_stream(name)) joined.owner = interest.service;
    std::shared_ptr<Group>& group = joined.groups[std::string(group_of(name, interest.service))];
    if (!group) group = make_group(joined.log->locate(interest.start));
    member.slots.push_back({joined.log, group});
  }
  revive(member, now);
  types_.clear();
  touch();
  return member;
}

void Store::leave(Member& member) {
  for (const Slot& slot : member.slots) slot.group->release_all(member.holder);
  members_.remove_if([&](const Member& other) { return &other == &member; });
  types_.clear();
  touch();
}

void Store::revive(Member& member, Now now) {
  member.holder.lease_until = later(now.steady, member.interest.lease);
  if (member.live) return;
  member.live = true;
  types_.clear();
}

void Store::sweep(Now now) {
  for (Member& member : members_) {
    if (!member.live || member.holder.lease_until > now.steady) continue;
    member.live = false;
    for (const Slot& slot : member.slots) slot.group->orphan_all(member.holder, now);
    types_.clear();
    touch();
  }
}

Steady Store::next_expiry() const {
  Steady next = Steady::max();
  for (const Member& member : members_) {
    if (member.live && member.holder.events > 0) next = std::min(next, member.holder.lease_until);
  }
  return next;
}

std::vector<std::string> Store::rejoin(Member& member) {
  std::vector<std::string> recreated;
  for (std::size_t i = 0; i < member.slots.size(); ++i) {
    const std::string& name = member.interest.streams[i];
    Stream& joined = stream(name);
    std::shared_ptr<Group>& group = joined.groups[std::string(group_of(name, member.interest.service))];
    if (group == member.slots[i].group) continue;
    if (!group) {
      group = make_group(std::max(member.slots[i].group->cursor(), joined.log->first()));
      if (is_command_stream(name)) joined.owner = member.interest.service;
      recreated.push_back(name);
    }
    member.slots[i].group = group;
  }
  return recreated;
}

std::shared_ptr<const std::vector<std::string>> Store::types(const std::string& service) {
  auto& cached = types_[service];
  if (!cached) {
    std::set<std::string> all;
    for (const Member& member : members_) {
      if (member.live && member.interest.service == service) {
        all.insert(member.interest.types.begin(), member.interest.types.end());
      }
    }
    cached = std::make_shared<const std::vector<std::string>>(sorted(all));
  }
  return cached;
}

void Store::create(GroupRef ref, const GroupChange& change) {
  check_stream(ref.stream);
  const bool commands = is_command_stream(ref.stream);
  if (commands && ref.group != "commands") {
    throw Error(ErrorCode::invalid, "memory: the group of " + std::string(ref.stream) +
                                        " is called commands; name the owning service as its owner");
  }
  if (!commands) check_service_name(ref.group);
  if (!change.owner.empty()) check_service_name(change.owner);
  Stream& owning = stream(ref.stream);
  if (owning.groups.contains(ref.group)) {
    throw Error(ErrorCode::conflict, "memory: " + named(ref) + " exists already; seek it to move it");
  }
  if (commands) owning.owner = change.owner;
  owning.groups[std::string(ref.group)] = make_group(owning.log->locate(change.at));
}

void Store::change(GroupRef ref, const GroupChange& change) {
  touch();
  if (change.kind == GroupChange::Kind::create) return create(ref, change);
  Group& changed_group = group(ref);
  Stream& owning = stream(ref.stream);
  switch (change.kind) {
    case GroupChange::Kind::create:
      break;
    case GroupChange::Kind::seek:
      changed_group.seek(owning.log->locate(change.at));
      break;
    case GroupChange::Kind::pause:
      changed_group.paused = true;
      break;
    case GroupChange::Kind::resume:
      changed_group.paused = false;
      break;
    case GroupChange::Kind::remove:
      if (!change.force && changed_group.holds_work()) {
        throw Error(ErrorCode::conflict,
                    "memory: " + named(ref) +
                        " holds unsettled work or dead letters; settle them first, or remove it by force");
      }
      changed_group.abandon();
      owning.groups.erase(std::string(ref.group));
      if (is_command_stream(ref.stream)) owning.owner.clear();
      break;
  }
}

transport::StreamInfo Store::describe(const std::string& name, const Stream& stream, Now now) const {
  transport::StreamInfo info;
  const Log& log = *stream.log;
  info.name = name;
  info.length = log.end() - log.first();
  info.bytes = log.bytes();
  info.end = {log.end(), 0};
  if (!log.empty()) {
    info.first = {log.first(), 0};
    info.oldest = log.at(log.first()).record.stored_at;
    info.newest = log.at(log.end() - 1).record.stored_at;
  }
  for (const auto& [group_name, group] : stream.groups) {
    transport::GroupInfo& shown = info.groups.emplace_back(group->describe(log, now));
    shown.stream = name;
    shown.group = group_name;
    shown.owner = stream.owner;
    std::set<std::string> types;
    for (const Member& member : members_) {
      const auto reads = [&own = group](const Slot& slot) { return slot.group == own; };
      if (member.holder.lease_until <= now.steady || std::none_of(member.slots.begin(), member.slots.end(), reads))
        continue;
      ++shown.consumers;
      types.insert(member.interest.types.begin(), member.interest.types.end());
    }
    shown.types = sorted(types);
  }
  return info;
}

bool Store::trim(const transport::Retention& retention, Now now, std::size_t most,
                 const std::function<void(GroupRef, std::uint64_t)>& missed) {
  bool more = false;
  for (auto& [name, stream] : streams) {
    std::uint64_t until = stream.log->expired(retention, now.wall);
    const bool cut = until > stream.log->first() + most;
    if (cut) until = stream.log->first() + most;
    const auto may_pass = [&](const std::string& group) {
      return std::find(retention.pass_groups.begin(), retention.pass_groups.end(), group) !=
             retention.pass_groups.end();
    };
    if (until == stream.log->first()) continue;
    for (const auto& [group_name, group] : stream.groups) {
      if (!may_pass(group_name)) until = std::min(until, group->lowest());
    }
    for (const auto& [group_name, group] : stream.groups) {
      const std::uint64_t count = group->pass(until);
      if (count > 0) missed({name, group_name}, count);
      if (count > 0) touch();
    }
    more = more || (cut && until > stream.log->first());
    stream.log->trim(until);
  }
  return more;
}

}  // namespace tidings::memory

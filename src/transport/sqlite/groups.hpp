// Groups looked at and changed from outside: shelf, move, inject, change, describe, upkeep and the doctor's checks.
#pragma once

#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include <tidings/transport.hpp>

#include "transport/sqlite/store.hpp"

namespace tidings::transport::sqlite {

/// The numbers of a group and its stream. Throws Error{not_found}.
struct GroupKey {
  std::int64_t group = 0, stream = 0;
};
[[nodiscard]] GroupKey find_group(Database& db, GroupRef ref);

[[nodiscard]] std::vector<ShelfItem> list_shelf(Store& store, GroupRef ref, const ShelfQuery& query);
std::size_t move_items(Store& store, GroupRef ref, const ShelfQuery& query, ShelfAction action,
                       const Outgoing& replacement);
void inject_items(Store& store, const Capabilities& limits, GroupRef ref, Origin origin, std::uint64_t run,
                  std::span<const Outgoing> items, std::span<Result> results);
void shelve_items(Store& store, const Capabilities& limits, GroupRef ref, std::span<const ShelfItem> items,
                  std::span<Result> results);
void change_group(Store& store, GroupRef ref, const GroupChange& change);
[[nodiscard]] std::vector<StreamInfo> describe_streams(Store& store, std::string_view stream);
/// One slice of retention over all streams; true when there is more to remove.
bool trim(Store& store, const Retention& retention, std::stop_token stop);
[[nodiscard]] std::vector<Check> diagnose_log(Store& store);

}  // namespace tidings::transport::sqlite

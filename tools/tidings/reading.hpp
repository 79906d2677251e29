// Looking at streams and groups without joining one.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tidings/transport.hpp>
#include <vector>

#include "output.hpp"

namespace tidings::cli {

/// Walks a stream in publish order, a page at a time.
class Cursor {
 public:
  Cursor(transport::Transport& transport, transport::ReadRange range)
      : transport_(transport), range_(std::move(range)) {}
  /// The next record, or nullptr at the end of what is there now. The pointer lives until the next call.
  const transport::Record* peek();
  void pop() { page_.pop_front(); }
  [[nodiscard]] const std::string& stream() const noexcept { return range_.stream; }

 private:
  transport::Transport& transport_;
  transport::ReadRange range_;
  std::deque<transport::Record> page_{};
  bool end_ = false;
};

/// Walks several streams at once, by the time at which their events were stored. Stops when `visit` returns false.
void walk_merged(std::vector<Cursor>& cursors,
                 const std::function<bool(const std::string& stream, const transport::Record&)>& visit);

/// A record whose bytes are sound JSON; damaged or foreign ones are named on stderr and are not.
[[nodiscard]] bool is_sound(std::string_view stream, const transport::Record& record);

/// An event found by its id.
struct Found {
  std::string stream{};
  transport::Record record{};
};
/// Every place where `id` stands, in `stream` or, when that is empty, in all streams.
[[nodiscard]] std::vector<Found> find_event(transport::Transport& transport, std::string_view stream,
                                            const std::string& id);

/// Where `T|ID|beginning|end` is in `stream`. Throws Error{not_found} for an unknown id.
[[nodiscard]] Start start_value(transport::Transport& transport, std::string_view stream, const std::string& text);

/// The groups of `stream`, or of all streams. Throws Error{not_found} for a stream that does not exist.
[[nodiscard]] std::vector<transport::GroupInfo> list_groups(transport::Transport& transport, const std::string& stream);
/// The groups that `name` means: its own, and the commands that it owns. Throws Error{not_found} when there is none.
[[nodiscard]] std::vector<transport::GroupInfo> groups_named(transport::Transport& transport, const std::string& stream,
                                                             const std::string& name);
/// A group as the contract's row.
[[nodiscard]] std::string group_json(const transport::GroupInfo& group);

/// Every item of a group that matches, over all pages.
[[nodiscard]] std::vector<transport::ShelfItem> list_shelf(transport::Transport& transport, transport::GroupRef group,
                                                           transport::ShelfQuery query);
/// The contract's word for a state.
[[nodiscard]] std::string_view state_word(transport::ShelfState state) noexcept;

}  // namespace tidings::cli

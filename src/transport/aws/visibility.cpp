#include "transport/aws/visibility.hpp"

#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace tidings::transport::aws {
namespace {

constexpr std::string_view operation = "ChangeMessageVisibilityBatch";

std::vector<std::span<VisibilityChange>> by_tens(std::span<VisibilityChange> changes) {
  std::vector<std::span<VisibilityChange>> parts;
  while (!changes.empty()) {
    std::size_t size = 1;
    while (size < changes.size() && size < largest_batch && changes[size].queue_url == changes[0].queue_url) ++size;
    parts.push_back(changes.first(size));
    changes = changes.subspan(size);
  }
  return parts;
}

}  // namespace

std::optional<Error> change_visibility(Client& client, std::span<VisibilityChange> changes,
                                       WaitClock::time_point deadline) {
  const auto parts = by_tens(changes);
  std::deque<std::string> bodies;
  std::vector<Call> calls;
  for (const auto& part : parts) {
    std::vector<sqs::Visibility> asked;
    for (const VisibilityChange& each : part) asked.push_back(each.change);
    sqs::write_change_message_visibility_batch(bodies.emplace_back(), part.front().queue_url, asked);
    calls.push_back({.service = Service::sqs, .operation = operation, .body = bodies.back()});
  }
  std::vector<Reply> replies(calls.size());
  if (!calls.empty()) client.run(calls, replies, deadline);
  std::optional<Error> failure;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    if (!replies[k].ok()) {
      if (!failure) failure.emplace(replies[k].error(operation, parts[k].front().queue));
      continue;
    }
    std::vector<EntryResult> entries(parts[k].size());
    sqs::read_entries(replies[k].body, entries);
    for (std::size_t i = 0; i < entries.size(); ++i) parts[k][i].result = std::move(entries[i]);
  }
  return failure;
}

}  // namespace tidings::transport::aws

#include "core/interest.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <tidings/error.hpp>
#include <tidings/stream.hpp>

namespace tidings::core {

using namespace transport;

std::string new_instance() {
  static std::atomic<unsigned> number{0};
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  return std::string(host) + ":" + std::to_string(::getpid()) + ":" + std::to_string(++number);
}

std::string join_lines(const std::vector<std::string>& types) {
  std::string text;
  for (const std::string& type : types) text.append(type).push_back('\n');
  return text;
}

void check_interest(const Interest& interest) {
  check_service_name(interest.service);
  if (interest.streams.empty())
    throw Error(ErrorCode::invalid, interest.service + " subscribes to no stream; name at least one");
  std::vector<std::string> sorted = interest.streams;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    throw Error(ErrorCode::invalid, interest.service + " names a stream twice; name each once");
  }
  for (const std::string& stream : sorted) check_stream(stream);
  if (interest.events == 0 || interest.lease.count() <= 0) {
    throw Error(ErrorCode::invalid, interest.service + ": at least one event and a lease above zero are needed");
  }
}

transport::Outgoing outgoing_of(transport::GroupRef group, const ShelfItem& item) {
  return {.stream = group.stream, .id = item.id, .type = item.type, .envelope = item.envelope};
}

bool matches(const ShelfItem& item, const ShelfQuery& query) {
  const auto any = [](const auto& list, const auto& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  return (query.states.empty() || any(query.states, item.state)) &&
         (query.ids.empty() || any(query.ids, item.key) || (!item.id.empty() && any(query.ids, item.id))) &&
         (query.reason.empty() || (item.state == ShelfState::dead && item.reason == query.reason)) &&
         (query.after.empty() || item.key > query.after);
}

}  // namespace tidings::core

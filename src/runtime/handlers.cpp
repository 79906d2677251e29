#include "runtime/handlers.hpp"

#include <algorithm>

namespace tidings::runtime {

HandlerTable::HandlerTable() { handlers_.push_back(std::make_unique<Handler>()); }

void HandlerTable::add(Handler handler) {
  const auto found = std::find(streams_.begin(), streams_.end(), handler.stream);
  const auto place = static_cast<std::size_t>(found - streams_.begin());
  if (found != streams_.end()) {
    const Stream& table = tables_[place];
    if (handler.type.empty() ? table.rest != nullptr : table.by_type.contains(handler.type)) {
      throw Error(
          ErrorCode::conflict,
          (handler.type.empty() ? "the stream " + handler.stream : "the type " + handler.type) +
              " has a handler in this service already; one handler can call two functions, or use two services");
    }
  } else {
    streams_.push_back(handler.stream);
    tables_.emplace_back();
  }
  handler.lane = handlers_.size();
  handlers_.push_back(std::make_unique<Handler>(std::move(handler)));
  const Handler* const kept = handlers_.back().get();
  if (kept->type.empty()) {
    tables_[place].rest = kept;
  } else {
    tables_[place].by_type.emplace(kept->type, kept);
  }
}

const Handler* HandlerTable::find(std::uint32_t stream, std::string_view type) const noexcept {
  if (stream >= tables_.size()) return nullptr;
  const Stream& table = tables_[stream];
  if (table.by_type.size() <= few) {
    // Comparing few is less than hashing one.
    for (const auto& [name, handler] : table.by_type) {
      if (name == type) return handler;
    }
    return table.rest;
  }
  const auto found = table.by_type.find(type);
  return found != table.by_type.end() ? found->second : table.rest;
}

std::vector<std::string> HandlerTable::types() const {
  std::vector<std::string> types;
  for (std::size_t lane = 1; lane < handlers_.size(); ++lane) {
    types.push_back(handlers_[lane]->type.empty() ? "*" : handlers_[lane]->type);
  }
  std::sort(types.begin(), types.end());
  types.erase(std::unique(types.begin(), types.end()), types.end());
  return types;
}

}  // namespace tidings::runtime

#include "transport/aws/batch.hpp"

#include <charconv>

namespace tidings::transport::aws {
namespace {

constexpr std::string_view missing = "Missing";

}  // namespace

BatchReading::BatchReading(std::span<EntryResult> results) noexcept : results_(results) {
  for (EntryResult& each : results_) {
    each.fault = Fault::passing;
    each.sender_fault = false;
    each.code = missing;
    each.message.clear();
    each.message_id.clear();
  }
}

EntryResult* BatchReading::take(std::string_view id, Fault fault) noexcept {
  std::size_t place = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), place);
  if (error != std::errc() || end != id.data() + id.size() || place >= results_.size()) return nullptr;
  EntryResult& result = results_[place];
  if (result.code != missing) return nullptr;
  result.fault = fault;
  result.code.clear();
  return &result;
}

void BatchReading::failed(std::string_view id, bool sender_fault, std::string code, std::string message) {
  if (code.empty()) code = "Unknown";
  EntryResult* const result = take(id, fault_of_entry(code, sender_fault));
  if (result == nullptr) return;
  result->sender_fault = sender_fault;
  result->code = std::move(code);
  result->message = std::move(message);
}

Error unreadable(std::string_view operation) {
  return {ErrorCode::unavailable, true,
          "aws: the answer to " + std::string(operation) + " cannot be read; check that the endpoint is AWS's"};
}

}  // namespace tidings::transport::aws

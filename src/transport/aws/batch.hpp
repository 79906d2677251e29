// What AWS says of each entry of a batch. The ids of entries are their places: "0", "1" …
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <tidings/error.hpp>

#include "transport/aws/retry.hpp"

namespace tidings::transport::aws {

/// The most entries that one call takes.
inline constexpr std::size_t largest_batch = 10;

/// One entry's outcome. One that AWS said nothing of has `passing` and the code `Missing`.
struct EntryResult {
  Fault fault = Fault::none;
  bool sender_fault = false;
  std::string code{}, message{};  ///< Of a failure.
  std::string message_id{};       ///< Of a message that was sent.
  [[nodiscard]] bool ok() const noexcept { return fault == Fault::none; }
};

/// Gathers the outcomes of a reply, in the entries' order.
class BatchReading {
 public:
  explicit BatchReading(std::span<EntryResult> results) noexcept;
  /// The entry of that id, or null when there is none, or when it was told already.
  [[nodiscard]] EntryResult* succeeded(std::string_view id) noexcept { return take(id, Fault::none); }
  void failed(std::string_view id, bool sender_fault, std::string code, std::string message);

 private:
  EntryResult* take(std::string_view id, Fault fault) noexcept;
  std::span<EntryResult> results_;
};

/// What a reply that is none is: AWS, or what stands before it, answered in another language.
[[nodiscard]] Error unreadable(std::string_view operation);

}  // namespace tidings::transport::aws

// Whether what comes to a bridge is what it has brought away itself: another bridge leads back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "passage.hpp"

namespace tidings::cli {

/// Remembers events by their bytes and the place where they stood on the source. The last ones are all known, of older
/// ones an even sample whose size is bounded: a circle of any length becomes smaller with every round, and ends.
class Echo {
 public:
  using Mark = std::array<std::uint64_t, 2>;

  /// Knows at least the last `most` events, and as many of all others.
  explicit Echo(std::size_t most = 1U << 17U) : most_(most) {}

  [[nodiscard]] static Mark mark_of(std::string_view envelope) noexcept;
  void remember(const Mark& mark, const Place& place);
  /// Whether the same bytes were remembered from another place. Where the engine tells no places, whether they were
  /// remembered at all: they are stored on the target then, and may be left out whatever brought them again.
  [[nodiscard]] bool came_back(const Mark& mark, const Place& place) const;

 private:
  struct Hash {
    std::size_t operator()(const Mark& mark) const noexcept { return static_cast<std::size_t>(mark[1]); }
  };
  using Marks = std::unordered_map<Mark, Place, Hash>;

  [[nodiscard]] bool in_sample(const Mark& mark) const noexcept { return (mark[0] & sieve_) == 0; }

  std::size_t most_;
  Marks recent_{}, before_{};  ///< Two generations, so that forgetting is one step.
  Marks sample_{};
  std::uint64_t sieve_ = 0;  ///< The bits that must be unset in the marks of the sample.
};

}  // namespace tidings::cli

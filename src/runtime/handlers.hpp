// Which handler a delivery belongs to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <tidings/detail/handler.hpp>
#include <tidings/service.hpp>

namespace tidings::runtime {

/// One registered handler: `function`, or `batch` with its size and wait.
struct Handler {
  std::string stream{};
  std::string type{};     ///< Empty: every type of the stream that has no handler of its own.
  std::string version{};  ///< Empty: any.
  detail::HandlerFunction function{};
  detail::BatchFunction batch{};
  std::size_t batch_size = 1;
  Millis batch_wait{};
  HandlerOptions options{};
  std::size_t lane = 0;  ///< Its index in HandlerTable.
};

/// The handlers of one service. Handler 0 is nobody's: deliveries whose type cannot be found out go there.
class HandlerTable {
 public:
  HandlerTable();
  /// Throws Error{conflict} when the type, or the rest of the stream, has a handler already.
  void add(Handler handler);
  /// The handler of `type` on stream number `stream`, or nullptr.
  [[nodiscard]] const Handler* find(std::uint32_t stream, std::string_view type) const noexcept;
  [[nodiscard]] const Handler& at(std::size_t lane) const noexcept { return *handlers_[lane]; }
  [[nodiscard]] std::size_t size() const noexcept { return handlers_.size(); }
  /// Every stream that is read, in the order that Delivery::stream counts.
  [[nodiscard]] const std::vector<std::string>& streams() const noexcept { return streams_; }
  /// Every handled type, sorted; "*" for those of whole streams.
  [[nodiscard]] std::vector<std::string> types() const;

 private:
  static constexpr std::size_t few = 8;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  struct Stream {
    std::unordered_map<std::string, const Handler*, Hash, std::equal_to<>> by_type;
    const Handler* rest = nullptr;
  };

  std::vector<std::unique_ptr<Handler>> handlers_;
  std::vector<std::string> streams_;
  std::vector<Stream> tables_;  // Beside streams_.
};

}  // namespace tidings::runtime

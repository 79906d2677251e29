// The inside of a handler's context.
#pragma once

#include <span>
#include <string>

#include <tidings/context.hpp>
#include <tidings/detail/handler.hpp>

#include "runtime/cancellation.hpp"
#include "runtime/execution.hpp"

namespace tidings::detail {

/// One delivery while it is handled. Reused from delivery to delivery.
class ContextState {
 public:
  explicit ContextState(ServiceState& service) : service_(service), context_(*this) {}

  void begin(const transport::Delivery& delivery, const runtime::Handler& handler, runtime::Cancellation& cancellation);
  /// Records what was decoded; false when the version is above the handler's.
  bool admit(const Heading& heading);
  /// Calls `body`, inside the around hook where there is one. The handler's own from here on.
  void enter(FunctionRef body);
  /// Writes one output. See Context::publish.
  std::string hold_back(const TypedData& data, const PublishOptions& options);

  [[nodiscard]] Context& context() noexcept { return context_; }
  [[nodiscard]] const transport::Delivery& delivery() const noexcept { return *delivery_; }
  [[nodiscard]] const Heading& heading() const noexcept { return heading_; }
  [[nodiscard]] bool entered() const noexcept { return entered_; }
  [[nodiscard]] bool unsupported() const noexcept { return unsupported_; }
  /// The event's version, when it is unsupported.
  [[nodiscard]] const std::string& unsupported_version() const noexcept { return unsupported_version_; }
  [[nodiscard]] std::string_view stream() const noexcept;
  [[nodiscard]] std::string_view group() const noexcept;
  [[nodiscard]] std::stop_token stop_token() const { return cancellation_->token(); }
  [[nodiscard]] runtime::Outputs& outputs() noexcept { return outputs_; }

  static ContextState& of(Context& context) noexcept { return *context.state_; }
  static const ContextState& of(const Context& context) noexcept { return *context.state_; }

 private:
  ServiceState& service_;
  Context context_;
  const transport::Delivery* delivery_ = nullptr;
  const runtime::Handler* handler_ = nullptr;
  runtime::Cancellation* cancellation_ = nullptr;
  Heading heading_;
  runtime::Outputs outputs_;
  bool entered_ = false, unsupported_ = false;
  std::string unsupported_version_{};
};

}  // namespace tidings::detail

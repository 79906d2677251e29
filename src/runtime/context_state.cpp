#include "runtime/context_state.hpp"

#include "core/failpoint.hpp"

namespace tidings {

std::string_view Context::id() const noexcept { return state_->heading().id; }
std::string_view Context::type() const noexcept { return state_->heading().type; }
std::string_view Context::source() const noexcept { return state_->heading().source; }
std::string_view Context::correlation_id() const noexcept { return state_->heading().correlation_id; }
std::string_view Context::stream() const noexcept { return state_->stream(); }
std::string_view Context::group() const noexcept { return state_->group(); }
Position Context::position() const noexcept { return state_->delivery().position; }
std::uint32_t Context::attempt() const noexcept { return state_->delivery().attempt; }
std::uint32_t Context::crashes() const noexcept { return state_->delivery().crashes; }
bool Context::replayed() const noexcept { return state_->delivery().origin == transport::Origin::replay; }
std::uint64_t Context::run() const noexcept { return state_->delivery().run; }
std::string_view Context::envelope() const noexcept { return state_->delivery().envelope; }
std::stop_token Context::stop_token() const noexcept { return state_->stop_token(); }

std::string Context::hold_back(const detail::TypedData& data, const PublishOptions& options) {
  return state_->hold_back(data, options);
}

namespace detail {

void enter_handler(Context& context, const Heading& heading, FunctionRef body) {
  ContextState& state = ContextState::of(context);
  if (state.admit(heading)) state.enter(body);
}

void ContextState::begin(const transport::Delivery& delivery, const runtime::Handler& handler,
                         runtime::Cancellation& cancellation) {
  delivery_ = &delivery;
  handler_ = &handler;
  cancellation_ = &cancellation;
  heading_ = {};
  entered_ = unsupported_ = false;
  if (!outputs_.messages.empty()) outputs_ = {};
}

bool ContextState::admit(const Heading& heading) {
  heading_ = heading;
  unsupported_ = !runtime::version_supported(handler_->version, heading.version);
  // Kept, since the event that the heading borrows from is gone when the outcome is made.
  if (unsupported_) unsupported_version_ = heading.version;
  return !unsupported_;
}

void ContextState::enter(FunctionRef body) {
  entered_ = true;
  TIDINGS_FAILPOINT("runtime.before_handler");
  if (service_.around) {
    service_.around(context_, std::function<void()>(body));
  } else {
    body();
  }
  TIDINGS_FAILPOINT("runtime.after_handler");
}

std::string_view ContextState::stream() const noexcept { return service_.handlers.streams()[delivery_->stream]; }

std::string_view ContextState::group() const noexcept { return group_of(stream(), service_.name); }

std::string ContextState::hold_back(const TypedData& data, const PublishOptions& options) {
  const Fields none;
  const Fields& metadata = heading_.metadata == nullptr ? none : *heading_.metadata;
  std::string id = !options.id.empty() ? options.id
                                       : derived_event_id({.cause_source = heading_.source,
                                                           .cause_id = heading_.id,
                                                           .cause_time = heading_.timestamp,
                                                           .group = group(),
                                                           .run = delivery_->run,
                                                           .ordinal = outputs_.messages.size()});
  const std::string traceparent = metadata.string("traceparent").value_or("");
  const std::string tracestate = metadata.string("tracestate").value_or("");
  const runtime::Inherited inherited{.source = service_.source(),
                                     .id = id,
                                     .correlation = heading_.correlation_id,
                                     .causation = heading_.id,
                                     .traceparent = traceparent,
                                     .tracestate = tracestate,
                                     .largest = service_.bus->largest_event()};
  outputs_.messages.push_back(
      runtime::append_message(outputs_.arena, data, options, inherited, service_.environment()));
  return id;
}

}  // namespace detail
}  // namespace tidings

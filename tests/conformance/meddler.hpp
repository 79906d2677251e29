// A transport that passes everything on, but lets a test get in between: an answer lost, a write refused, a lease gone.
#pragma once

#include <atomic>

#include "conformance.hpp"

namespace tidings::conformance {

/// Wraps a transport. Hooks are set before use, and are called from any thread.
class Meddler : public Transport {
 public:
  using Publish = std::function<void(std::span<const Outgoing>, std::span<Result>, const std::function<void()>& pass)>;
  using Settle = std::function<void(std::span<const Settlement>, std::span<Result>, const std::function<void()>& pass)>;
  using Renew = std::function<std::vector<AckToken>(const std::function<std::vector<AckToken>()>& pass)>;
  using Fetched = std::function<void(const Batch&)>;

  explicit Meddler(std::shared_ptr<Transport> inner) : inner_(std::move(inner)) {}
  Publish on_publish{};  ///< Calls `pass` to store the items, or fills the results itself.
  Settle on_settle{};    ///< Likewise for settlements.
  Renew on_renew{};      ///< Likewise for renewals.
  Fetched on_fetched{};  ///< Sees every batch.

  /// The transport behind it.
  [[nodiscard]] Transport& inner() const { return *inner_; }

  const transport::Capabilities& capabilities() const noexcept override { return inner_->capabilities(); }
  void publish(std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results) override;
  void inject(transport::GroupRef group, transport::Origin origin, std::uint64_t run, std::span<const Outgoing> items,
              std::span<Result> results) override {
    inner_->inject(group, origin, run, items, results);
  }
  std::unique_ptr<Subscription> subscribe(const Interest& interest) override;
  transport::Page read(const transport::ReadRange& range, std::stop_token stop) override {
    return inner_->read(range, std::move(stop));
  }
  std::vector<ShelfItem> shelf(transport::GroupRef group, const ShelfQuery& query) override {
    return inner_->shelf(group, query);
  }
  std::size_t move(transport::GroupRef group, const ShelfQuery& query, transport::ShelfAction action,
                   const Outgoing& replacement) override {
    return inner_->move(group, query, action, replacement);
  }
  void shelve(transport::GroupRef group, std::span<const ShelfItem> items, std::span<Result> results) override {
    inner_->shelve(group, items, results);
  }
  void change(transport::GroupRef group, const transport::GroupChange& change) override {
    inner_->change(group, change);
  }
  std::vector<transport::StreamInfo> describe(std::string_view stream) override { return inner_->describe(stream); }
  Millis tend(const transport::Retention& retention, std::stop_token stop) override {
    return inner_->tend(retention, std::move(stop));
  }
  std::vector<transport::Check> diagnose() override { return inner_->diagnose(); }

 private:
  class Between;
  std::shared_ptr<Transport> inner_;
};

}  // namespace tidings::conformance

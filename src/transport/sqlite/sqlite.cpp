#include "transport/sqlite/sqlite.hpp"

#include "transport/sqlite/groups.hpp"
#include "transport/sqlite/log.hpp"
#include "transport/sqlite/store.hpp"
#include "transport/sqlite/subscription.hpp"

namespace tidings {
namespace transport::sqlite {
namespace {

// 4 MB: past this the WAL's own index gets slow, and recycling its pages beats growing it.
constexpr int checkpoint_frames = (4 << 20) / 4096;

Capabilities capabilities_of_sqlite() {
  Capabilities capabilities;
  capabilities.engine = "sqlite";
  capabilities.levels = {Level::process, Level::disk};
  capabilities.barrier = true;
  return capabilities;
}

class SqliteTransport final : public Transport {
 public:
  SqliteTransport(const Url& url, const Environment& environment)
      : store_(url, environment), publisher_(store_, capabilities_) {}

  [[nodiscard]] const Capabilities& capabilities() const noexcept override { return capabilities_; }
  void publish(std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results) override {
    publisher_.publish(items, level, within, results);
  }
  void inject(GroupRef group, Origin origin, std::uint64_t run, std::span<const Outgoing> items,
              std::span<Result> results) override {
    inject_items(store_, capabilities_, group, origin, run, items, results);
  }
  std::unique_ptr<Subscription> subscribe(const Interest& interest) override {
    store_.check_usable();
    return std::make_unique<SqliteSubscription>(store_, capabilities_, interest);
  }
  Page read(const ReadRange& range, std::stop_token stop) override { return read_log(store_, range, std::move(stop)); }
  std::vector<ShelfItem> shelf(GroupRef group, const ShelfQuery& query) override {
    return list_shelf(store_, group, query);
  }
  std::size_t move(GroupRef group, const ShelfQuery& query, ShelfAction action, const Outgoing& replacement) override {
    return move_items(store_, group, query, action, replacement);
  }
  void shelve(GroupRef group, std::span<const ShelfItem> items, std::span<Result> results) override {
    shelve_items(store_, capabilities_, group, items, results);
  }
  void change(GroupRef group, const GroupChange& change) override { change_group(store_, group, change); }
  std::vector<StreamInfo> describe(std::string_view stream) override { return describe_streams(store_, stream); }
  std::vector<Check> diagnose() override { return diagnose_log(store_); }

  Millis tend(const Retention& retention, std::stop_token stop) override {
    store_.check_usable();
    (void)take_over_dead(store_);
    const bool more = !stop.stop_requested() && trim(store_, retention, stop);
    store_.notice_wal();
    const bool busy = store_.wal_frames() > checkpoint_frames / 4;
    const bool moved = stop.stop_requested() || store_.checkpoint(checkpoint_frames);
    if (more) return Millis{1};
    if (!moved) return Millis{20};
    return busy ? Millis{10} : Millis{1'000};
  }

 private:
  const Capabilities capabilities_ = capabilities_of_sqlite();
  Store store_;
  Publisher publisher_;
};

}  // namespace
}  // namespace transport::sqlite

std::shared_ptr<transport::Transport> open_sqlite(const Url& url, const Environment& environment) {
  return std::make_shared<transport::sqlite::SqliteTransport>(url, environment);
}

}  // namespace tidings

#include "transport/aws/aws.hpp"

#include <algorithm>
#include <tidings/stream.hpp>

#include "transport/aws/subscription.hpp"

namespace tidings {
namespace transport::aws {
namespace {

class AwsTransport final : public Transport {
 public:
  AwsTransport(const Options& options, const Environment& environment, std::shared_ptr<Transport> shelf,
               std::shared_ptr<Transport> archive)
      : store_(options, environment, std::move(shelf), std::move(archive)) {}

  [[nodiscard]] const Capabilities& capabilities() const noexcept override { return store_.capabilities(); }

  void publish(std::span<const Outgoing> items, Level, Millis within, std::span<Result> results) override {
    store_.publish(items, within, results);
  }

  // Straight to the one queue, with what tells it from what is live.
  void inject(GroupRef group, Origin origin, std::uint64_t run, std::span<const Outgoing> events,
              std::span<Result> results) override {
    const std::string url = queue_of(group);
    std::vector<Outgoing> items(events.begin(), events.end());
    for (Outgoing& item : items) item.stream = group.stream;
    const std::vector<MessageAttribute> beside{
        {.name = "run", .value = std::to_string(run)},
        {.name = "origin", .value = origin == Origin::redrive ? "redrive" : "replay"}};
    const std::vector<std::vector<MessageAttribute>> attributes(items.size(), beside);
    store_.send({.to = url, .attributes = attributes}, items, patience, results);
  }

  std::unique_ptr<Subscription> subscribe(const Interest& interest) override {
    return std::make_unique<AwsSubscription>(store_, interest);
  }
  Page read(const ReadRange& range, std::stop_token stop) override {
    return store_.archive_for("reading past events").read(range, std::move(stop));
  }
  std::vector<ShelfItem> shelf(GroupRef group, const ShelfQuery& query) override {
    Transport& shelf = store_.shelf_for("listing what a group holds aside");
    if (known_to_shelf(shelf, group)) return shelf.shelf(group, query);
    (void)queue_of(group);  // It may be that nothing has ever been put aside.
    return {};
  }
  std::size_t move(GroupRef group, const ShelfQuery& query, ShelfAction action, const Outgoing& replacement) override {
    const bool drop = action == ShelfAction::drop;
    if (store_.shelf() == nullptr && action != ShelfAction::replace)
      return move_dead_letters(store_, group, query, drop);
    Transport& shelf = store_.shelf_for("correcting a dead letter");
    if (known_to_shelf(shelf, group)) return shelf.move(group, query, action, replacement);
    (void)queue_of(group);
    return 0;
  }
  void shelve(GroupRef group, std::span<const ShelfItem> items, std::span<Result> results) override {
    Transport& shelf = store_.shelf_for("a shelf");
    (void)queue_of(group);
    store_.join_shelf(group);
    shelf.shelve(group, items, results);
  }

  void change(GroupRef group, const GroupChange& change) override {
    switch (change.kind) {
      case GroupChange::Kind::create:
        return create(group, change);
      case GroupChange::Kind::seek:
        throw Error(ErrorCode::not_supported,
                    "aws: a queue has no history to seek in; replay from an archive instead (archive=URL, tidings "
                    "replay)");
      case GroupChange::Kind::pause:
      case GroupChange::Kind::resume:
        (void)queue_of(group);
        (void)store_.shelf_for("pausing a group");
        store_.join_shelf(group);
        return store_.shelf()->change(group, change);
      case GroupChange::Kind::remove:
        return remove(group, change);
    }
  }

  std::vector<StreamInfo> describe(std::string_view stream) override { return describe_streams(store_, stream); }

  Millis tend(const Retention& retention, std::stop_token stop) override {
    Millis next(1'000);
    if (store_.shelf() != nullptr) next = std::min(next, store_.shelf()->tend({}, stop));
    if (store_.archive() != nullptr) next = std::min(next, store_.archive()->tend(retention, stop));
    if (store_.payloads() != nullptr) {
      next = std::min(next, store_.payloads()->tend(store_.environment().clock->wall()));
    }
    return next;
  }

  std::vector<Check> diagnose() override { return check_account(store_); }

 private:
  // The URL of a group's queue.
  std::string queue_of(GroupRef group) {
    std::string url =
        store_.topology().find_queue(store_.topology().names().queue(group.stream, group.group), deadline_in(patience));
    if (!url.empty()) return url;
    throw Error(ErrorCode::not_found, "there is no group " + std::string(group.group) + " of " +
                                          std::string(group.stream) + " on AWS; see tidings groups");
  }

  static bool known_to_shelf(Transport& shelf, GroupRef group) {
    for (const StreamInfo& info : shelf.describe(group.stream)) {
      for (const GroupInfo& each : info.groups) {
        if (each.group == group.group) return true;
      }
    }
    return false;
  }

  void create(GroupRef group, const GroupChange& change) {
    Topology& topology = store_.topology();
    check_stream(group.stream);
    if (!topology.find_queue(topology.names().queue(group.stream, group.group), deadline_in(patience)).empty()) {
      throw Error(ErrorCode::conflict,
                  "the group " + std::string(group.group) + " of " + std::string(group.stream) + " exists already");
    }
    if (change.at.kind != Start::Kind::end && change.at.kind != Start::Kind::beginning) {
      throw Error(ErrorCode::not_supported,
                  "aws: a group begins when its queue is subscribed; replay what came before from an archive");
    }
    const std::string service(is_command_stream(group.stream) ? std::string_view(change.owner) : group.group);
    // Everything comes until a service says what it handles.
    (void)topology.join(group.stream, service, {}, deadline_in(Millis(60'000)));
  }

  void remove(GroupRef group, const GroupChange& change) {
    (void)queue_of(group);
    if (!change.force) {
      for (const StreamInfo& stream : describe_streams(store_, group.stream)) {
        for (const GroupInfo& each : stream.groups) {
          const std::uint64_t work = each.lag.value_or(0) + each.pending + each.retrying + each.dead_letters;
          if (each.group != group.group || work == 0) continue;
          throw Error(ErrorCode::conflict, "the group " + std::string(group.group) + " of " +
                                               std::string(group.stream) + " holds about " + std::to_string(work) +
                                               " unsettled deliveries or dead letters; settle or drop them, or force "
                                               "it");
        }
      }
    }
    store_.topology().remove(group.stream, group.group, deadline_in(Millis(30'000)));
    if (store_.shelf() != nullptr && known_to_shelf(*store_.shelf(), group)) store_.shelf()->change(group, change);
  }

  Store store_;
};

}  // namespace
}  // namespace transport::aws

std::shared_ptr<transport::Transport> open_aws(const Url& url, const Environment& environment,
                                               const OpenOther& open_other) {
  const transport::aws::Options options = transport::aws::options_of(url);
  const auto open = [&](const std::string& other) { return other.empty() ? nullptr : open_other(other); };
  return std::make_shared<transport::aws::AwsTransport>(options, environment, open(options.shelf),
                                                        open(options.archive));
}

}  // namespace tidings

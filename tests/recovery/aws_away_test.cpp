// What must not be forgotten, nor held innocent, nor counted, while a shelf or a store of payloads is away.
#include <atomic>

#include "aws_recovery.hpp"
#include "transport/aws/aws.hpp"

namespace tidings::transport {
namespace {

constexpr const char* bucket = "payloads";
constexpr std::size_t megabyte = 1U << 20;

/// A shelf that fails when it is told to.
class AwkwardShelf final : public Transport {
 public:
  explicit AwkwardShelf(std::shared_ptr<Transport> inner) : inner_(std::move(inner)) {}
  std::atomic<int> describes_to_fail{0}, settles_to_fail{0}, renews_to_fail{0};
  std::atomic<int> settles_failed{0};

  const Capabilities& capabilities() const noexcept override { return inner_->capabilities(); }
  void publish(std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results) override {
    inner_->publish(items, level, within, results);
  }
  void inject(GroupRef group, Origin origin, std::uint64_t run, std::span<const Outgoing> events,
              std::span<Result> results) override {
    inner_->inject(group, origin, run, events, results);
  }
  std::unique_ptr<Subscription> subscribe(const Interest& interest) override {
    return std::make_unique<Between>(*this, inner_->subscribe(interest));
  }
  Page read(const ReadRange& range, std::stop_token stop) override { return inner_->read(range, std::move(stop)); }
  std::vector<ShelfItem> shelf(GroupRef group, const ShelfQuery& query) override { return inner_->shelf(group, query); }
  std::size_t move(GroupRef group, const ShelfQuery& query, ShelfAction action, const Outgoing& other) override {
    return inner_->move(group, query, action, other);
  }
  void shelve(GroupRef group, std::span<const ShelfItem> items, std::span<Result> results) override {
    inner_->shelve(group, items, results);
  }
  void change(GroupRef group, const GroupChange& change) override { inner_->change(group, change); }
  std::vector<StreamInfo> describe(std::string_view stream) override {
    if (take_one(describes_to_fail)) throw Error(ErrorCode::unavailable, true, "told to");
    return inner_->describe(stream);
  }
  Millis tend(const Retention& retention, std::stop_token stop) override {
    return inner_->tend(retention, std::move(stop));
  }
  std::vector<Check> diagnose() override { return inner_->diagnose(); }

 private:
  static bool take_one(std::atomic<int>& left) {
    for (int now = left; now > 0;) {
      if (left.compare_exchange_weak(now, now - 1)) return true;
    }
    return false;
  }
  class Between final : public Subscription {
   public:
    Between(AwkwardShelf& shelf, std::unique_ptr<Subscription> inner) : shelf_(shelf), inner_(std::move(inner)) {}
    Batch fetch(Millis wait, std::stop_token stop) override { return inner_->fetch(wait, std::move(stop)); }
    void settle(std::span<const Settlement> items, std::span<Result> results) override {
      if (take_one(shelf_.settles_to_fail)) {
        ++shelf_.settles_failed;
        throw Error(ErrorCode::unavailable, true, "told to");
      }
      inner_->settle(items, results);
    }
    std::vector<AckToken> renew() override {
      if (take_one(shelf_.renews_to_fail)) throw Error(ErrorCode::unavailable, true, "told to");
      return inner_->renew();
    }

   private:
    AwkwardShelf& shelf_;
    std::unique_ptr<Subscription> inner_;
  };
  std::shared_ptr<Transport> inner_;
};

class AwsAway : public AwsRecovery {
 protected:
  AwsAway() { stub_.make_bucket(bucket); }

  [[nodiscard]] static std::string with_s3() { return std::string("&payloads=s3://") + bucket + "/large"; }
  void use_awkward_shelf() {
    transport_ = open_aws(Url::parse(url(with_s3() + "&shelf=sqlite:" + folder_.path() + "/shelf.db")), environment_,
                          [&](const std::string& other) -> std::shared_ptr<Transport> {
                            awkward_ = std::make_shared<AwkwardShelf>(open_transport(other, environment_));
                            return awkward_;
                          });
  }
  std::string publish_large(std::size_t bytes) {
    std::string event = envelope(published_++, "user.created", bytes);
    EXPECT_EQ(try_publish(*transport_, {event}).at(0).code, ErrorCode::ok);
    return event;
  }
  // Handed out by the shelf, whatever is there of dead letters of the first stream.
  void bury_and_hand_out(Subscription& subscription) {
    const auto one = fetch(subscription, 1);
    ASSERT_EQ(one.size(), 1U);
    ASSERT_EQ(settle(subscription, one[0], Kind::dead, Millis(0), "told to").code, ErrorCode::ok);
    ASSERT_EQ(transport_->move({stream, "g"}, {}, ShelfAction::hand_out), 1U);
  }
  // By somebody who neither settles it nor gives it back uncounted.
  void receive_past_us(int times) {
    using Json = support::aws::Json;
    for (int i = 0; i < times; ++i) {
      const auto reply = sqs("ReceiveMessage", {{"VisibilityTimeout", Json(0)}});
      ASSERT_EQ(reply.status, 200) << reply.body;
    }
  }

  std::shared_ptr<AwkwardShelf> awkward_{};
};

TEST_F(AwsAway, WhatTheShelfHandedOutIsKeptThoughItGoesAwayBehindThat) {
  use_awkward_shelf();
  auto both = interest(10);
  both.streams = {stream, "events:order"};
  const auto subscription = transport_->subscribe(both);
  (void)subscription->fetch(Millis(50), {});
  publish(1);
  bury_and_hand_out(*subscription);
  GroupChange pause;
  pause.kind = GroupChange::Kind::pause;
  transport_->change({"events:order", "g"}, pause);
  awkward_->describes_to_fail = 1;
  const auto again = fetch(*subscription, 1);
  EXPECT_EQ(awkward_->describes_to_fail, 0);
  ASSERT_EQ(again.size(), 1U) << "nobody else can have it while this subscription lives";
  EXPECT_EQ(settle(*subscription, again[0]).code, ErrorCode::ok);
}

TEST_F(AwsAway, AShelfThatIsAwayEndsNothingThatCameOutOfAQueue) {
  use_awkward_shelf();
  const auto subscription = subscribe();
  publish(1);
  bury_and_hand_out(*subscription);
  const auto shelved = fetch(*subscription, 1);
  publish(1);
  const auto queued = fetch(*subscription, 1);
  ASSERT_EQ(shelved.size() + queued.size(), 2U);
  awkward_->renews_to_fail = 1'000;
  advance(Millis(10'000));
  EXPECT_TRUE(subscription->renew().empty()) << "nobody else has any of it yet";
  advance(Millis(11'000));
  EXPECT_EQ(subscription->renew(), std::vector<AckToken>{shelved[0].token}) << "others may have that soon";
  for (int i = 0; i < 6; ++i) {
    advance(Millis(10'000));
    EXPECT_TRUE(subscription->renew().empty());
  }
  EXPECT_EQ(settle(*subscription, queued[0]).code, ErrorCode::ok);
  EXPECT_TRUE(stub_.messages(queue).empty());
}

TEST_F(AwsAway, WhatTheShelfCouldNotBeToldItIsToldLater) {
  use_awkward_shelf();
  const auto subscription = subscribe();
  const std::string event = publish_large(2 * megabyte);  // The shelf holds no more than its pointer.
  bury_and_hand_out(*subscription);
  stub_.deny("s3:GetObject");
  awkward_->settles_to_fail = 1;
  for (int i = 0; i < 100 && awkward_->settles_failed == 0; ++i) (void)subscription->fetch(Millis(100), {});
  ASSERT_EQ(awkward_->settles_failed, 1);
  stub_.allow("s3:GetObject");
  std::vector<Delivery> again;
  for (int i = 0; i < 60 && again.empty(); ++i) {
    again = subscription->fetch(Millis(200), {}).deliveries;
    advance(Millis(5'000));
    EXPECT_TRUE(subscription->renew().empty());
  }
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].envelope, event);
}

TEST_F(AwsAway, WhatOthersGaveBackForWantOfItsPayloadIsNoAttempt) {
  std::vector<std::shared_ptr<Transport>> processes;
  std::vector<std::unique_ptr<Subscription>> instances;
  for (int i = 0; i < 3; ++i) {
    processes.push_back(open(with_s3()));
    instances.push_back(processes.back()->subscribe(interest()));
  }
  transport_ = processes.front();
  publish_large(megabyte);
  stub_.deny("s3:GetObject");
  for (int round = 0; round < 5; ++round) {
    for (const auto& each : instances) {
      EXPECT_TRUE(each->fetch(Millis(0), {}).deliveries.empty());
      advance(Millis(130'000));
    }
  }
  stub_.allow("s3:GetObject");
  Subscription* const subscription = instances.back().get();
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].attempt, 1U);
  EXPECT_EQ(settle(*subscription, one[0], Kind::again).code, ErrorCode::ok);
  const auto again = fetch(*subscription, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt, 2U) << "and what fails is one";
}

// What a process before this may have died of.
class AwsSuspects : public AwsAway {};

TEST_F(AwsSuspects, AReleaseProvesNothing) {
  const auto subscription = subscribe();
  publish(1);
  receive_past_us(1);
  for (int i = 0; i < 2; ++i) {
    const auto one = fetch(*subscription, 1);
    ASSERT_EQ(one.size(), 1U);
    EXPECT_TRUE(one[0].alone) << i;
    EXPECT_EQ(one[0].attempt, 2U) << i;
    EXPECT_EQ(settle(*subscription, one[0], Kind::release).code, ErrorCode::ok);
  }
  const auto fails = fetch(*subscription, 1);
  ASSERT_EQ(fails.size(), 1U);
  EXPECT_EQ(settle(*subscription, fails[0], Kind::again).code, ErrorCode::ok);
  const auto again = fetch(*subscription, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_FALSE(again[0].alone) << "it has failed, and nobody died";
}

TEST_F(AwsSuspects, AStoreThatFailsProvesNothing) {
  transport_ = open(with_s3());
  const auto subscription = subscribe();
  publish_large(megabyte);
  receive_past_us(1);
  stub_.deny("s3:GetObject");
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty());
  stub_.allow("s3:GetObject");
  advance(Millis(2'000));
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_TRUE(one[0].alone);
}

// Each of them has its turn, though all were received before and the room is small.
TEST_F(AwsSuspects, ManyInSeveralStreamsAllHaveTheirTurn) {
  using Json = support::aws::Json;
  constexpr std::size_t each = 15;
  auto all = interest(4);
  all.streams = {stream, "events:order", "events:stock"};
  (void)transport_->subscribe(all);
  std::map<std::string, int> came;
  for (const std::string& to : all.streams) {
    publish(each, to);
    std::string name = to;
    name.replace(name.find(':'), 1, "-");
    for (int i = 0; i < 2; ++i) {
      const auto reply =
          sqs("ReceiveMessage", {{"VisibilityTimeout", Json(5)}, {"MaxNumberOfMessages", Json(10)}}, "t-g-" + name);
      ASSERT_EQ(reply.status, 200) << reply.body;
    }
  }
  advance(Millis(6'000));
  const auto subscription = transport_->subscribe(all);
  for (std::size_t i = 0; i < 3 * each; ++i) {
    const auto one = fetch(*subscription, 1);
    ASSERT_EQ(one.size(), 1U) << i;
    EXPECT_TRUE(one[0].alone);
    EXPECT_EQ(one[0].attempt, 2U);
    ++came[std::string(one[0].envelope)];
    ASSERT_EQ(settle(*subscription, one[0]).code, ErrorCode::ok);
  }
  EXPECT_EQ(came.size(), 3 * each);
}

}  // namespace
}  // namespace tidings::transport

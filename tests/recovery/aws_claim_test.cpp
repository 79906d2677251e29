// Events too large for a message: what is stored, sent and fetched, and what becomes of them when their store fails.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>

#include "aws_recovery.hpp"

namespace tidings::transport {
namespace {

constexpr std::size_t inline_limit = 255U << 10, megabyte = 1U << 20;
constexpr const char* bucket = "payloads";

std::string bytes_of(const Delivery& delivery) { return std::string(delivery.envelope); }

class AwsClaim : public AwsRecovery {
 protected:
  AwsClaim() { stub_.make_bucket(bucket); }

  [[nodiscard]] std::string with_s3() const { return std::string("&payloads=s3://") + bucket + "/large"; }
  [[nodiscard]] std::string files() const { return folder_.path() + "/payloads"; }
  [[nodiscard]] std::string with_files() const { return "&payloads=file://" + files(); }
  void use(const std::string& options) { transport_ = open(options); }

  static std::string sized(std::size_t bytes, int number = 1) {
    const std::string bare = envelope(number);
    return envelope(number, "user.created", bytes - bare.size());
  }
  Result publish_one(const std::string& event) { return try_publish(*transport_, {event}).at(0); }
  // A group whose queue is there, and nothing asked of it yet.
  void make_group() { (void)subscribe(); }
  std::string only_object() {
    const auto all = stub_.objects(bucket);
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? "" : all.begin()->first;
  }
  std::vector<std::string> stored_files() {
    std::vector<std::string> out;
    for (const auto& each : std::filesystem::recursive_directory_iterator(files())) {
      if (each.is_regular_file() && each.path().filename() != ".tidings-payloads") out.push_back(each.path().string());
    }
    return out;
  }
  // Sent past us, as by anybody.
  void send_body(const std::string& body) {
    const auto reply = sqs("SendMessage", {{"MessageBody", body}});
    ASSERT_EQ(reply.status, 200) << reply.body;
  }
  // What is damaged is settled as the runtime does it; returns what the dead letter says.
  std::string bury(Subscription& subscription) {
    const auto one = fetch(subscription, 1);
    if (one.size() != 1 || !one[0].damaged) return "nothing damaged came";
    const Result settled = settle(subscription, one[0], Kind::dead, Millis(0), one[0].damage);
    if (settled.code != ErrorCode::ok) return settled.message;
    const auto dead = stub_.messages(dead_queue);
    if (dead.empty()) return "no dead letter";
    EXPECT_EQ(dead.back().body, bytes_of(one[0]));
    return text_of_error(dead.back());
  }
  static std::string text_of_error(const support::AwsMessage& message) {
    return AwsRecovery::text_of(message.attributes, "error");
  }
};

TEST_F(AwsClaim, GoesThroughS3AndComesBackWhole) {
  use(with_s3());
  const auto subscription = subscribe();
  const std::string event = sized(megabyte);
  ASSERT_EQ(publish_one(event).code, ErrorCode::ok);
  const std::string key = only_object();
  EXPECT_TRUE(key.starts_with("large/events-user/evt.")) << key;
  EXPECT_EQ(stub_.objects(bucket).at(key), event);
  const auto sent = stub_.sent(queue);
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(
      sent[0].body,
      R"(["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"payloads","s3Key":")" + key + "\"}]");
  EXPECT_EQ(sent[0].attributes.at("ExtendedPayloadSize"),
            (support::AwsAttribute{"Number", std::to_string(event.size())}));
  EXPECT_EQ(sent[0].attributes.at("type"), (support::AwsAttribute{"String", "user.created"}));
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].envelope, event);
  EXPECT_EQ(one[0].type, "user.created");
  EXPECT_EQ(one[0].attempt, 1U);
  EXPECT_EQ(settle(*subscription, one[0]).code, ErrorCode::ok);
  EXPECT_TRUE(stub_.messages(queue).empty());
  EXPECT_EQ(stub_.objects(bucket).size(), 1U) << "another group may still want it";
}

TEST_F(AwsClaim, GoesThroughAFolderAndComesBackWhole) {
  use(with_files());
  const auto subscription = subscribe();
  const std::string event = sized(3 * megabyte);
  ASSERT_EQ(publish_one(event).code, ErrorCode::ok);
  ASSERT_EQ(stored_files().size(), 1U);
  EXPECT_TRUE(stub_.sent(queue).at(0).body.starts_with(R"(["tidings.FilePointer",{"file":"events-user/evt.)"));
  EXPECT_FALSE(stub_.sent(queue).at(0).attributes.contains("ExtendedPayloadSize"));
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].envelope, event);
}

TEST_F(AwsClaim, ACommandGoesThroughToo) {
  use(with_s3());
  auto wanted = interest();
  wanted.streams = {"commands:send.email"};
  const auto subscription = transport_->subscribe(wanted);
  const std::string event = sized(megabyte);
  ASSERT_EQ(try_publish(*transport_, {event}, "commands:send.email").at(0).code, ErrorCode::ok);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].envelope, event);
}

TEST_F(AwsClaim, OneByteMoreThanFitsIsStored) {
  make_group();
  EXPECT_EQ(publish_one(sized(inline_limit)).code, ErrorCode::ok);
  const Result refused = publish_one(sized(inline_limit + 1));
  EXPECT_EQ(refused.code, ErrorCode::too_large) << "without a store it stays as it was";
  use(with_s3());
  EXPECT_EQ(publish_one(sized(inline_limit)).code, ErrorCode::ok);
  EXPECT_TRUE(stub_.objects(bucket).empty());
  EXPECT_EQ(publish_one(sized(inline_limit + 1)).code, ErrorCode::ok);
  EXPECT_EQ(stub_.objects(bucket).size(), 1U);
  const auto sent = stub_.sent(queue);
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[1].body.size(), inline_limit);
  std::size_t attributes = 0;
  for (const auto& [name, value] : sent[1].attributes)
    attributes += name.size() + value.type.size() + value.value.size();
  EXPECT_LE(sent[1].body.size() + attributes, std::size_t{256} << 10);
}

TEST_F(AwsClaim, SaysHowMuchAStoreTakes) {
  EXPECT_EQ(transport_->capabilities().largest_event, inline_limit);
  use(with_files());
  EXPECT_EQ(transport_->capabilities().largest_event, std::size_t{64} << 20);
  make_group();
  const std::string event = sized(std::size_t{64} << 20);
  EXPECT_EQ(publish_one(event).code, ErrorCode::ok);
  const Result refused = publish_one(event + " ");
  EXPECT_EQ(refused.code, ErrorCode::too_large);
  EXPECT_FALSE(refused.retryable);
  const auto subscription = subscribe();
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U) << "one larger than the room still comes";
  EXPECT_TRUE(one[0].envelope == event);
}

TEST_F(AwsClaim, WhatIsNotStoredIsNotSentAndTheRestIs) {
  use(with_s3());
  make_group();
  stub_.deny("s3:PutObject");
  const auto results = try_publish(*transport_, {envelope(1), sized(megabyte, 2), envelope(3)});
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_EQ(results[1].code, ErrorCode::unauthorized);
  EXPECT_NE(results[1].message.find("events:user"), std::string::npos) << results[1].message;
  EXPECT_NE(results[1].message.find("nothing was sent"), std::string::npos) << results[1].message;
  EXPECT_EQ(results[1].message.find(aws_secret), std::string::npos);
  EXPECT_EQ(results[2].code, ErrorCode::ok);
  EXPECT_EQ(stub_.sent(queue).size(), 2U);
}

TEST_F(AwsClaim, OfOneKeyNothingOvertakesWhatIsNotStored) {
  use(with_s3());
  make_group();
  stub_.deny("s3:PutObject");
  const auto results = try_publish(*transport_, {envelope(1), sized(megabyte, 2), envelope(3)}, stream, "key");
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_EQ(results[1].code, ErrorCode::unauthorized);
  EXPECT_EQ(results[2].code, ErrorCode::unavailable);
  EXPECT_EQ(stub_.sent(queue).size(), 1U);
}

TEST_F(AwsClaim, AStoreThatFailsForTheMomentIsAskedAgain) {
  use(with_s3());
  const auto subscription = subscribe();
  stub_.fail_next("PutObject", 2, {.status = 503, .code = "SlowDown"});
  ASSERT_EQ(publish_one(sized(megabyte)).code, ErrorCode::ok);
  stub_.fail_next("GetObject", 2, {.status = 503, .code = "SlowDown"});
  EXPECT_EQ(fetch(*subscription, 1).size(), 1U);
}

TEST_F(AwsClaim, AFullDiskRefusesThatEventAlone) {
  use(with_files());
  make_group();
  // What a quota or a full disk says, for every user.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 512U << 10, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto results = try_publish(*transport_, {envelope(1), sized(megabyte, 2), sized(300'000, 3)});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  (void)std::signal(SIGXFSZ, ignored);
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_EQ(results[1].code, ErrorCode::full) << results[1].message;
  EXPECT_TRUE(results[1].retryable);
  EXPECT_NE(results[1].message.find("make room there"), std::string::npos) << results[1].message;
  EXPECT_EQ(results[2].code, ErrorCode::ok) << results[2].message;
  EXPECT_EQ(stub_.sent(queue).size(), 2U);
  EXPECT_EQ(stored_files().size(), 1U) << "what was begun is removed";
}

TEST_F(AwsClaim, AFolderThatCannotBeWrittenRefusesThatEventAlone) {
  std::ofstream(folder_.path() + "/file") << "no folder";
  use("&payloads=file://" + folder_.path() + "/file/payloads");
  make_group();
  const auto results = try_publish(*transport_, {envelope(1), sized(megabyte, 2)});
  EXPECT_EQ(results[0].code, ErrorCode::ok);
  EXPECT_EQ(results[1].code, ErrorCode::unavailable) << results[1].message;
  EXPECT_EQ(stub_.sent(queue).size(), 1U);
}

TEST_F(AwsClaim, TwoPublishersOfOneEventStoreItOnce) {
  make_group();
  const std::string event = sized(megabyte), other = sized(megabyte, 2);
  {
    std::vector<std::jthread> publishers;
    for (int i = 0; i < 4; ++i) {
      publishers.emplace_back([&] {
        const auto mine = open(with_files());
        for (int k = 0; k < 5; ++k) EXPECT_EQ(try_publish(*mine, {event}).at(0).code, ErrorCode::ok);
      });
    }
  }
  EXPECT_EQ(stored_files().size(), 1U);
  use(with_files());
  ASSERT_EQ(publish_one(other).code, ErrorCode::ok);
  EXPECT_EQ(stored_files().size(), 2U) << "of the same id, but other bytes";
}

TEST_F(AwsClaim, AStoreThatIsDownKeepsOnlyItsOwnMessagesBack) {
  use(with_s3());
  const auto subscription = subscribe();
  const std::string event = sized(megabyte);
  ASSERT_EQ(publish_one(event).code, ErrorCode::ok);
  publish(3);
  stub_.fail_next("GetObject", 1'000, {.status = 503, .code = "ServiceUnavailable"});
  const auto others = fetch(*subscription, 3);
  ASSERT_EQ(others.size(), 3U);
  for (const auto& each : others) {
    EXPECT_NE(each.envelope, event);
    EXPECT_EQ(settle(*subscription, each).code, ErrorCode::ok);
  }
  EXPECT_TRUE(subscription->fetch(Millis(8'000), {}).deliveries.empty());
  EXPECT_TRUE(told("payloads cannot be fetched"));
  ASSERT_EQ(stub_.messages(queue).size(), 1U);
  EXPECT_EQ(stub_.messages(dead_queue).size(), 0U);
}

TEST_F(AwsClaim, WhatAStoreRefusedComesAgainUncounted) {
  use(with_s3());
  const auto subscription = subscribe();
  ASSERT_EQ(publish_one(sized(megabyte)).code, ErrorCode::ok);
  stub_.deny("s3:GetObject");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty());
    EXPECT_EQ(count(State::delayed), 1U);
    EXPECT_EQ(count(State::in_flight), 0U);
    advance(Millis(20'000));
  }
  stub_.allow("s3:GetObject");
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].attempt, 1U);
  ASSERT_EQ(stub_.messages(queue).size(), 1U);
  EXPECT_EQ(stub_.messages(queue).at(0).receives, 1) << "it is a new message each time";
  EXPECT_EQ(stub_.messages(queue).at(0).attributes.at("postponed").value, "3");
}

TEST_F(AwsClaim, AStoreThatHangsHoldsUpNobody) {
  use(with_s3());
  const auto subscription = subscribe();
  const std::string event = sized(megabyte);
  ASSERT_EQ(publish_one(event).code, ErrorCode::ok);
  stub_.delay("GetObject");
  publish(2);
  const auto began = std::chrono::steady_clock::now();
  const auto others = fetch(*subscription, 2);
  EXPECT_EQ(others.size(), 2U);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(4));
  EXPECT_TRUE(subscription->fetch(Millis(200), {}).deliveries.empty());
  stub_.release("GetObject");
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].envelope, event);
}

// While all handlers are busy nobody asks for more, and nobody drives what is under way: its store is not to blame.
TEST_F(AwsClaim, AFetchThatNobodyWaitedForIsMadeOnceMore) {
  use(with_s3());
  const auto subscription = subscribe();
  const auto elsewhere = open();
  Interest nothing = interest();
  nothing.service = "other";
  const auto other = elsewhere->subscribe(nothing);
  const std::string event = sized(megabyte);
  ASSERT_EQ(publish_one(event).code, ErrorCode::ok);
  stub_.delay("GetObject");
  publish(1);
  ASSERT_EQ(fetch(*subscription, 1).size(), 1U);
  for (int i = 0; i < 50 && stub_.requests("GetObject") == 0; ++i) (void)subscription->fetch(Millis(50), {});
  ASSERT_EQ(stub_.requests("GetObject"), 1);
  stub_.release("GetObject");
  const auto busy_until = std::chrono::steady_clock::now() + std::chrono::milliseconds(6'500);
  while (std::chrono::steady_clock::now() < busy_until)
    for (const Delivery& each : other->fetch(Millis(500), {}).deliveries) (void)settle(*other, each);
  publish(1);
  std::size_t came = 0;
  for (const Delivery& each : fetch(*subscription, 2)) came += each.envelope == event ? 2 : 1;
  EXPECT_EQ(came, 3U) << "what waits and it, though others were there first";
  EXPECT_FALSE(told("payloads cannot be fetched"));
  EXPECT_EQ(stub_.requests(hide), 0);
}

TEST_F(AwsClaim, WhatIsUnderWayIsGivenBackAtTheEnd) {
  use(with_s3());
  auto subscription = subscribe();
  ASSERT_EQ(publish_one(sized(megabyte)).code, ErrorCode::ok);
  stub_.delay("GetObject");
  EXPECT_TRUE(subscription->fetch(Millis(500), {}).deliveries.empty());
  ASSERT_EQ(count(State::in_flight), 1U);
  subscription.reset();
  EXPECT_EQ(count(State::visible), 1U);
  stub_.release("GetObject");
}

TEST_F(AwsClaim, WhatIsHeldForItsPayloadIsRenewed) {
  use(with_s3());
  const auto subscription = subscribe();
  ASSERT_EQ(publish_one(sized(megabyte)).code, ErrorCode::ok);
  stub_.delay("GetObject");
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty());
  for (int i = 0; i < 4; ++i) {
    advance(Millis(15'000));
    EXPECT_TRUE(subscription->renew().empty());
  }
  EXPECT_EQ(count(State::in_flight), 1U);
  stub_.release("GetObject");
  EXPECT_EQ(fetch(*subscription, 1).size(), 1U);
}

TEST_F(AwsClaim, WhatIsGoneIsDamagedWithItsPointer) {
  use(with_s3());
  const auto subscription = subscribe();
  ASSERT_EQ(publish_one(sized(megabyte)).code, ErrorCode::ok);
  stub_.set_object(bucket, only_object(), std::nullopt);
  const std::string why = bury(*subscription);
  EXPECT_NE(why.find("its payload is gone"), std::string::npos) << why;
  EXPECT_EQ(stub_.messages(dead_queue).at(0).attributes.at("ExtendedPayloadSize").type, "Number");
  EXPECT_TRUE(stub_.messages(queue).empty());
}

TEST_F(AwsClaim, AFileThatIsGoneIsDamagedAndAFolderThatIsNotMountedIsWaitedFor) {
  use(with_files());
  const auto subscription = subscribe();
  ASSERT_EQ(publish_one(sized(megabyte)).code, ErrorCode::ok);
  std::filesystem::rename(files(), files() + ".away");
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty());
  EXPECT_TRUE(told("mount it"));
  std::filesystem::rename(files() + ".away", files());
  std::filesystem::remove(stored_files().at(0));
  // The store rests for a second; nothing is visible meanwhile. Less than a lease: the poll under way may bring it
  // before anybody looks.
  EXPECT_TRUE(subscription->fetch(Millis(1'200), {}).deliveries.empty());
  advance(Millis(5'000));
  const std::string why = bury(*subscription);
  EXPECT_NE(why.find("its payload is gone"), std::string::npos) << why;
}

TEST_F(AwsClaim, WhatWasChangedInTheStoreIsDamaged) {
  use(with_s3());
  const auto subscription = subscribe();
  std::string event = sized(megabyte);
  ASSERT_EQ(publish_one(event).code, ErrorCode::ok);
  event[event.size() / 2] = 'y';
  stub_.set_object(bucket, only_object(), event);
  const std::string why = bury(*subscription);
  EXPECT_NE(why.find("SHA-256"), std::string::npos) << why;
}

TEST_F(AwsClaim, HostilePointersAreNotFollowed) {
  std::ofstream(folder_.path() + "/secret") << "secret";
  use(with_files());
  const auto subscription = subscribe();
  ASSERT_EQ(publish_one(sized(megabyte)).code, ErrorCode::ok);
  ASSERT_EQ(fetch(*subscription, 1).size(), 1U);
  const std::string digest(64, 'a');
  for (const std::string& file :
       {std::string("../secret"), folder_.path() + "/secret", std::string("events-user/../../secret"),
        "events-user/a." + digest + "/../../../secret"}) {
    send_body(R"(["tidings.FilePointer",{"file":")" + file + R"("}])");
    const std::string why = bury(*subscription);
    EXPECT_NE(why.find("no payload of ours"), std::string::npos) << why;
  }
  // Nor is a link in the folder, should somebody have set one.
  const std::string link = files() + "/events-user/a." + digest;
  std::filesystem::create_symlink(folder_.path() + "/secret", link);
  send_body(R"(["tidings.FilePointer",{"file":"events-user/a.)" + digest + R"("}])");
  EXPECT_TRUE(subscription->fetch(Millis(300), {}).deliveries.empty());
}

TEST_F(AwsClaim, APointerOfAmazonsClientsIsFollowedInOurBucketAlone) {
  use(with_s3());
  const auto subscription = subscribe();
  const std::string event = sized(megabyte);
  const auto pointer = [](const char* in) {
    return std::string(R"(["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":")") + in +
           R"(","s3Key":"c71eb2ae-37e0-4265-8909-32f4153faddf"}])";
  };
  stub_.set_object(bucket, "c71eb2ae-37e0-4265-8909-32f4153faddf", event);
  stub_.make_bucket("others");
  stub_.set_object("others", "c71eb2ae-37e0-4265-8909-32f4153faddf", event);
  send_body(pointer(bucket));
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].envelope, event);
  send_body(pointer("others"));
  const std::string why = bury(*subscription);
  EXPECT_NE(why.find("others"), std::string::npos) << why;
  EXPECT_EQ(stub_.requests("GetObject"), 1);
}

TEST_F(AwsClaim, AReaderWithoutAStoreNamesTheOptionAndLosesNothing) {
  const std::string event = sized(megabyte);
  {
    const auto reader = subscribe();
    ASSERT_EQ(try_publish(*open(with_s3()), {event}).at(0).code, ErrorCode::ok);
    const std::string why = bury(*reader);
    EXPECT_NE(why.find("payloads="), std::string::npos) << why;
  }
  use(with_s3());
  const auto subscription = subscribe();
  const auto moved =
      other_.sqs("StartMessageMoveTask",
                 support::aws::Json::object({{"SourceArn", support::aws::Json(stub_.queue_arn(dead_queue))},
                                             {"DestinationArn", support::aws::Json(stub_.queue_arn(queue))}}));
  ASSERT_EQ(moved.status, 200) << moved.body;
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].envelope, event) << "redriven once the option is set";
}

TEST_F(AwsClaim, AShelfHoldsTheWholeEventOrItsPointer) {
  use(with_s3() + with_shelf());
  const auto subscription = subscribe();
  const std::size_t shelf_takes = megabyte;
  const std::string fits = sized(shelf_takes, 1), too_large = sized(2 * megabyte, 2);
  for (const std::string& event : {fits, too_large}) {
    ASSERT_EQ(publish_one(event).code, ErrorCode::ok);
    const auto one = fetch(*subscription, 1);
    ASSERT_EQ(one.size(), 1U);
    ASSERT_EQ(settle(*subscription, one[0], Kind::dead, Millis(0), "told to").code, ErrorCode::ok);
  }
  ShelfQuery dead;
  dead.states = {ShelfState::dead};
  const auto items = transport_->shelf({stream, "g"}, dead);
  ASSERT_EQ(items.size(), 2U);
  std::set<std::size_t> sizes;
  for (const auto& each : items) sizes.insert(each.envelope.size());
  EXPECT_TRUE(sizes.contains(fits.size()));
  EXPECT_LT(*sizes.begin(), 1'000U) << "the other lies there as its pointer";
  EXPECT_EQ(transport_->move({stream, "g"}, dead, ShelfAction::hand_out), 2U);
  const auto again = fetch(*subscription, 2);
  ASSERT_EQ(again.size(), 2U);
  std::set<std::string> got;
  for (const auto& each : again) got.insert(bytes_of(each));
  EXPECT_TRUE(got == (std::set<std::string>{fits, too_large})) << "and is whole when it is handed out";
}

TEST_F(AwsClaim, PayloadsComeWithinTheRoomForBytes) {
  use(with_s3());
  auto small = interest();
  small.bytes = 3 * megabyte;
  const auto subscription = transport_->subscribe(small);
  std::vector<std::string> events;
  for (int i = 0; i < 6; ++i) events.push_back(sized(2 * megabyte, i));
  for (const auto& each : try_publish(*transport_, events)) ASSERT_EQ(each.code, ErrorCode::ok) << each.message;
  std::set<std::string> got;
  for (int i = 0; i < 6; ++i) {
    const auto one = fetch(*subscription, 1);
    ASSERT_EQ(one.size(), 1U);
    (void)subscription->fetch(Millis(200), {});
    EXPECT_LE(stub_.requests("GetObject"), i + 2) << "one is handled, at most one more waits";
    got.insert(bytes_of(one[0]));
    EXPECT_EQ(settle(*subscription, one[0]).code, ErrorCode::ok);
  }
  EXPECT_EQ(got.size(), 6U);
}

TEST_F(AwsClaim, WhatFailsComesAgainByItsPointer) {
  use(with_s3());
  const auto subscription = subscribe();
  const std::string event = sized(megabyte);
  ASSERT_EQ(publish_one(event).code, ErrorCode::ok);
  const auto one = fetch(*subscription, 1);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(settle(*subscription, one[0], Kind::again).code, ErrorCode::ok);
  const auto again = fetch(*subscription, 1);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].envelope, event);
  EXPECT_EQ(again[0].attempt, 2U);
  EXPECT_EQ(settle(*subscription, again[0], Kind::dead, Millis(0), "told to").code, ErrorCode::ok);
  const auto dead = stub_.messages(dead_queue);
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_TRUE(dead[0].body.starts_with("[\"software.amazon")) << "a dead letter too is too large for a message";
  EXPECT_EQ(AwsRecovery::text_of(dead[0].attributes, "error"), "told to");
}

TEST_F(AwsClaim, UpkeepRemovesFilesThatNothingPointsToAnyMore) {
  use(with_files());
  make_group();
  ASSERT_EQ(try_publish(*transport_, {sized(megabyte, 1), sized(megabyte, 2)}).at(0).code, ErrorCode::ok);
  const auto made = stored_files();
  ASSERT_EQ(made.size(), 2U);
  const auto day = std::chrono::hours(24);
  const auto set_age = [&](const std::string& path, std::chrono::hours age) {
    const auto at = std::chrono::ceil<std::chrono::seconds>((clock_.wall() - age).time_since_epoch()).count();
    const timespec times[2] = {{.tv_sec = at, .tv_nsec = 0}, {.tv_sec = at, .tv_nsec = 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  };
  set_age(made[0], 29 * day + std::chrono::hours(1));
  set_age(made[1],
          29 * day - std::chrono::hours(1));  // A dead letter that was redriven on its last day may point to it.
  (void)transport_->tend({}, {});
  EXPECT_EQ(stored_files(), std::vector{made[1]});
  EXPECT_TRUE(std::filesystem::exists(files() + "/.tidings-payloads"));
}

TEST_F(AwsClaim, UpkeepComesToTheEndOfManyFiles) {
  use(with_files());
  const std::string folder = files() + "/events-user";
  std::filesystem::create_directories(folder);
  constexpr int many = 2'500;
  for (int i = 0; i < many; ++i) std::ofstream(folder + "/evt_" + std::to_string(i) + ".x") << i;
  clock_.jump_wall(std::chrono::floor<Millis>(std::chrono::system_clock::now()) - clock_.wall() +
                   std::chrono::hours(24 * 30));
  std::size_t left = many;
  for (int part = 0; part < 5 && left > 0; ++part) {
    (void)transport_->tend({}, {});
    const std::size_t now = stored_files().size();
    EXPECT_LE(left - now, 1'000U) << "a bounded part at once";
    left = now;
    clock_.advance(Millis(1'000));
  }
  EXPECT_EQ(left, 0U);
}

TEST_F(AwsClaim, TheDoctorTriesTheStore) {
  const auto check = [&] {
    for (const Check& each : transport_->diagnose()) {
      if (each.check == "payloads") return each;
    }
    return Check{};
  };
  EXPECT_TRUE(check().ok);
  use(with_s3());
  EXPECT_TRUE(check().ok) << check().detail;
  for (const char* permission : {"s3:PutObject", "s3:GetObject"}) {
    stub_.deny(permission);
    EXPECT_FALSE(check().ok);
    EXPECT_NE(check().advice.find(permission), std::string::npos) << check().advice;
    stub_.allow(permission);
  }
  use(with_files());
  EXPECT_TRUE(check().ok) << check().detail;
}

}  // namespace
}  // namespace tidings::transport

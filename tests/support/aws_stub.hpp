// A stand-in for SQS, SNS, STS, objects of S3 and the sources of credentials, in this process and on the loopback only;
// as strict as AWS where emulators forgive.
//
//   AwsStub aws;
//   aws.add_key({.id = "AKIDEXAMPLE", .secret = "secret"});
//   // … a client with aws.url() as its endpoint, in aws.region() …
//   aws.fail_next("SendMessage", 2, {.status = 503, .code = "ServiceUnavailable"});
//   EXPECT_EQ(aws.messages("orders").size(), 1U);
//
// One address serves all: SQS as AWS JSON 1.0, SNS and STS as the query protocol, and the instance metadata service,
// the container's credentials, the SSO portal and its OIDC tokens by their paths; S3 (`PutObject`, `GetObject`) is what
// is signed for it, with the bucket in the path. Calls are named as AWS names them
// (`SendMessage`, `Publish`, `GetCallerIdentity`); the sources of credentials are `ImdsToken`, `ImdsCredentials`,
// `ContainerCredentials`, `GetRoleCredentials` (the portal) and `CreateToken` (OIDC). `*` stands for every call.
#pragma once

#include <tidings/time.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidings::support {

/// How a stand-in is set up.
struct AwsStubOptions {
  std::string region = "eu-west-1", account = "123456789012";
  /// What everything is timed by: visibility, delays, retention, deduplication, the age of signatures, expiry. The
  /// machine's clock when empty. Who moves it by hand calls time_moved() behind that. Called under a lock of the
  /// stand-in, so it must not call it back.
  std::function<Wall()> now{};
};

/// A key that requests may be signed with.
struct AwsKey {
  std::string id{}, secret{};
  std::string token{};  ///< Requests must carry it, when there is one.
  Wall expires = Wall::max();
  std::string arn{};  ///< Whose it is; without one `arn:aws:iam::ACCOUNT:user/tester`.
};

/// An answer that is an error.
struct AwsFailure {
  int status = 500;
  std::string code = "InternalFailure";
  std::string message = "told to fail";
  std::optional<int> retry_after{};  ///< Seconds, as a header.
};

/// What stands in `Failed` of a batch.
struct AwsEntryFailure {
  bool sender_fault = false;
  std::string code = "InternalError";
  std::string message = "told to fail";
};

/// Whether a call that nobody answers took effect.
enum class AwsDrop { before, after };

/// What the sources of credentials want to see. Each hands out keys of its own, which sign from then on.
struct AwsSources {
  std::string imds_role = "tidings-instance";
  std::string container_token = "container-token";  ///< Empty: none is looked at.
  std::string web_identity_token = "web-identity-token", role_arn = "arn:aws:iam::123456789012:role/tidings";
  std::string sso_token = "sso-token", sso_role = "tidings-developer", sso_account = "123456789012";
  Wall sso_expires = Wall::max();  ///< Of the token above.
  std::string client_id = "client", client_secret = "client-secret", refresh_token = "refresh-token";
  Wall client_expires = Wall::max();
  /// Of the keys handed out, and of tokens that OIDC refreshes. Instances and containers get the same key again until
  /// five minutes before it expires.
  Millis lifetime = std::chrono::hours(1);
};

/// The value of a message attribute: bytes for `Binary…`, else text.
struct AwsAttribute {
  std::string type{}, value{};
  bool operator==(const AwsAttribute&) const = default;
};

/// A message that lies in a queue.
struct AwsMessage {
  enum class State { visible, in_flight, delayed };
  std::string id{}, body{};
  std::map<std::string, AwsAttribute> attributes{};
  std::string group{}, deduplication{}, sequence{};
  std::string dead_letter_source{};  ///< The ARN of the queue that gave it up.
  Wall sent{}, available{};          ///< When it is visible, or was last.
  int receives = 0;
  State state = State::visible;
};

struct AwsSubscription {
  std::string arn{}, topic_arn{}, endpoint{};
  std::map<std::string, std::string> attributes{};  ///< As they were set.
};

/// Every member from any thread. Asking for a queue or a topic that is not there is a std::out_of_range.
class AwsStub {
 public:
  explicit AwsStub(AwsStubOptions options = {});
  /// Ends every call that waits, and every thread.
  ~AwsStub();
  AwsStub(const AwsStub&) = delete;
  AwsStub& operator=(const AwsStub&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// `http://127.0.0.1:PORT`.
  [[nodiscard]] std::string url() const;
  [[nodiscard]] const std::string& region() const noexcept;
  [[nodiscard]] const std::string& account() const noexcept;
  [[nodiscard]] std::string queue_url(const std::string& queue) const;
  [[nodiscard]] std::string queue_arn(const std::string& queue) const;
  [[nodiscard]] std::string topic_arn(const std::string& topic) const;

  /// Looks again at whatever waits for a time: long polls and move tasks.
  void time_moved();

  // Keys. There are none in the beginning.

  void add_key(AwsKey key);
  void remove_key(const std::string& id);
  /// The sources hand out nothing before this is called. Tokens handed out before count no more.
  void set_sources(AwsSources sources);
  /// What a request whose date is off is told on the query protocol, which differs among services. SNS and STS say
  /// SignatureDoesNotMatch; RequestTimeTooSkewed and RequestExpired are other ones' words.
  void set_skew_code(std::string code);

  // Faults. Of several for one call, those told first come first.

  /// The next `times` calls are answered with a failure and do nothing.
  void fail_next(const std::string& operation, int times, AwsFailure failure = {});
  /// The next `times` entries of batches that `which` picks, by id and body (receipt handle where there is no body),
  /// stand in `Failed` and do nothing.
  void fail_entries(const std::string& operation,
                    std::function<bool(const std::string& id, const std::string& body)> which, AwsEntryFailure failure,
                    int times);
  void fail_entries(const std::string& operation, const std::vector<std::string>& ids, AwsEntryFailure failure,
                    int times);
  /// The connections of the next `times` calls are closed without an answer.
  void drop(const std::string& operation, int times, AwsDrop when);
  /// Calls take effect, and their answers are held until release().
  void delay(const std::string& operation);
  void release(const std::string& operation);
  /// Waits until `calls` answers of it are held; false when that takes longer than anything may.
  [[nodiscard]] bool await_held(const std::string& operation, int calls);
  /// Calls of that action (`sqs:SendMessage`; batches have the action of their entries) on resources that the pattern
  /// fits (`*` and `?`) are refused, in AWS's words.
  void deny(const std::string& action, const std::string& resource = "*");
  /// Takes back what was denied under the same two.
  void allow(const std::string& action, const std::string& resource = "*");
  /// The next `times` MD5 of bodies, in answers to sends and receives, are wrong.
  void corrupt_md5(int times);
  /// The next `times` messages received from standard queues come once more with the next receive, though in flight.
  void deliver_twice(int times);
  /// Standard queues hand out the newest first.
  void set_out_of_order(bool on);
  /// How many messages of a queue may be in flight: 120,000.
  void set_most_in_flight(int count);
  /// AWS promises of a receipt handle that is not the newest only that deleting succeeds. By default it works on
  /// standard queues; ignored, deleting by it does nothing.
  void set_stale_handles_ignored(bool on);

  // What happened.

  /// Calls of it that arrived, refused ones included.
  [[nodiscard]] int requests(const std::string& operation = "*") const;
  /// Waits until there were that many; false when that takes longer than anything may.
  [[nodiscard]] bool await_requests(const std::string& operation, int count);
  /// Waits until that many answers to it are in their sockets, where a client that looks finds them.
  [[nodiscard]] bool await_answered(const std::string& operation, int count);
  [[nodiscard]] std::int64_t bytes_in() const;
  [[nodiscard]] std::int64_t bytes_out() const;
  [[nodiscard]] std::int64_t connections() const;
  /// How many signatures were right.
  [[nodiscard]] int signatures_verified() const;
  /// Waits until so many receives wait for a message; false when that takes longer than anything may.
  [[nodiscard]] bool await_polls(int count);

  // What there is.

  [[nodiscard]] std::vector<std::string> queues() const;
  [[nodiscard]] std::map<std::string, std::string> queue_attributes(const std::string& queue) const;
  /// In the order of their arrival.
  [[nodiscard]] std::vector<AwsMessage> messages(const std::string& queue) const;
  [[nodiscard]] std::vector<AwsMessage> messages(const std::string& queue, AwsMessage::State state) const;
  /// All that ever came into it, as they were then.
  [[nodiscard]] std::vector<AwsMessage> sent(const std::string& queue) const;
  /// ARNs.
  [[nodiscard]] std::vector<std::string> topics() const;
  [[nodiscard]] std::vector<AwsSubscription> subscriptions(const std::string& topic) const;
  /// S3's. Asking for a bucket that is not there is a std::out_of_range.
  void make_bucket(const std::string& bucket);
  [[nodiscard]] std::map<std::string, std::string> objects(const std::string& bucket) const;
  /// Replaces an object behind everybody's back, or removes it.
  void set_object(const std::string& bucket, const std::string& key, std::optional<std::string> bytes);
  /// How many deliveries from topics were dropped because no queue took them.
  [[nodiscard]] int undelivered() const;

 private:
  struct Inner;
  std::unique_ptr<Inner> inner_;
};

}  // namespace tidings::support

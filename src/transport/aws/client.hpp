// Calls to SQS, SNS, STS and S3: signed, sent to the configured endpoint, and repeated where that may help.
//
//   Client client({.region = "eu-west-1"});
//   Reply reply = client.run({.service = Service::sqs, .operation = "ListQueues", .body = "{}"}, deadline);
//   if (!reply.ok()) throw reply.error("ListQueues");
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <tidings/environment.hpp>
#include <tidings/error.hpp>

#include "transport/aws/credentials.hpp"
#include "transport/aws/http.hpp"
#include "transport/aws/retry.hpp"

namespace tidings::transport::aws {

enum class Service : std::uint8_t { sqs, sns, sts, s3 };
inline constexpr std::size_t services = 4;

/// One operation. What it borrows stays until it is decided.
struct Call {
  Service service = Service::sqs;
  std::string_view operation{};             ///< `SendMessageBatch`; for SNS and STS the body says it too.
  std::string_view body{};                  ///< JSON for SQS, a form for SNS and STS, the object for S3. Borrowed.
  std::chrono::milliseconds limit{10'000};  ///< Of one attempt; of a long poll, more than it waits.
  bool idempotent = true;                   ///< May be sent again when it is unknown whether AWS carried it out.
  std::string_view path{};                  ///< S3: of the object in its bucket, encoded. Borrowed.
  std::span<const HeaderView> headers{};    ///< S3: more of them. Borrowed.
};

/// What became of a call.
struct Reply {
  int status = 0;      ///< Of the last answer; 0 without one.
  std::string body{};  ///< Of success.
  Fault fault = Fault::none;
  Refusal refusal{};  ///< What AWS said last, when it refused.
  std::string why{};  ///< Why there is no answer, in words.
  unsigned attempts = 0;
  /// AWS may have carried it out another time than the one that it confirmed; or, of a failure, at all.
  bool ambiguous = false;
  std::optional<Error> unsent{};  ///< What kept it from being signed, or from being sent again.
  std::string safe{};             ///< What error() quotes: without a secret.

  [[nodiscard]] bool ok() const noexcept { return fault == Fault::none; }
  /// A failure as the caller's error: it names the operation (and `about`, a queue or topic), what AWS said, and what
  /// to do.
  [[nodiscard]] Error error(std::string_view operation, std::string_view about = {}) const;
};

/// How to reach AWS. What is empty is taken from the environment and the profile.
struct ClientOptions {
  std::string region{};
  std::string endpoint{};  ///< One for all services; a queue's own URL is never asked.
  std::string bucket{};    ///< Of S3; empty: S3 is not called.
  std::string profile{};
  std::string ca{};  ///< A file of certificates to believe in.
  std::size_t connections = 64;
  std::chrono::milliseconds connect_limit{3'000};
  Backoff backoff{};
};

/// Any thread. No thread of its own.
class Client {
 public:
  /// Throws Error{invalid} when there is no region, or an endpoint that is none. Nothing is sent yet. `environment`
  /// and, where given, `around` outlive it.
  explicit Client(ClientOptions options, const Environment& environment = {}, const Surroundings* around = nullptr);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Performs all of them at once and returns when all are decided, at the latest shortly after `deadline`.
  void run(std::span<const Call> calls, std::span<Reply> replies, WaitClock::time_point deadline,
           std::stop_token stop = {});
  [[nodiscard]] Reply run(const Call& call, WaitClock::time_point deadline, std::stop_token stop = {});

  /// Calls of one thread under way, decided one by one.
  class Flight;

  [[nodiscard]] const std::string& region() const noexcept { return options_.region; }
  /// Where calls of a service go.
  [[nodiscard]] const std::string& endpoint(Service service) const noexcept;
  /// Where the keys come from, in words; empty before the first call.
  [[nodiscard]] std::string credential_source() const { return store_->source(); }
  /// How far AWS's clock was ahead of ours when it said so.
  [[nodiscard]] Millis clock_offset() const noexcept { return Millis(offset_.load(std::memory_order_relaxed)); }
  /// Requests sent so far, repetitions among them; AWS bills them.
  [[nodiscard]] std::uint64_t requests() const noexcept { return requests_.load(std::memory_order_relaxed); }

 private:
  struct Task;
  struct Place {
    std::string url{}, host{}, path{};
  };
  [[nodiscard]] static Place place_of(std::string url);
  [[nodiscard]] std::string find_place(Service service) const;
  [[nodiscard]] CredentialSearch search(WaitClock::time_point deadline) const;
  [[nodiscard]] std::unique_ptr<Task> take_task();
  void leave_task(std::unique_ptr<Task> task);
  void sign(Task& task);
  void address(Task& task, std::string_view method, std::span<const HeaderView> headers);
  enum class Step : std::uint8_t { done, again_now, again_later };
  [[nodiscard]] Step judge(Task& task);
  [[nodiscard]] Step judge_refusal(Task& task);
  bool learn_time(const Task& task);

  ClientOptions options_;
  const Environment environment_;
  std::unique_ptr<Http> http_;
  Surroundings around_;
  std::unique_ptr<CredentialStore> store_;
  Signer signers_[services]{Signer(), Signer(), Signer(),
                            Signer({.normalise_path = false, .encode_path = false, .name_body_hash = true})};
  Place places_[services];
  std::atomic<std::int64_t> offset_{0};
  std::atomic<std::uint64_t> requests_{0};
  std::mutex mutex_{};
  std::vector<std::unique_ptr<Task>> spare_{};
};

class Client::Flight {
 public:
  explicit Flight(Client& client, std::stop_token stop = {});
  /// Gives up what is still under way.
  ~Flight();
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  /// `reply` stays where it is until next() returns it.
  void start(const Call& call, Reply& reply, WaitClock::time_point deadline);
  /// Waits for one to be decided; null at `until`, or at once when there is none under way. Null also when `wake`
  /// fires: unlike `stop` of the constructor it leaves alone what is under way.
  [[nodiscard]] Reply* next(WaitClock::time_point until, std::stop_token wake = {});
  /// Nothing is sent from now on: what waits to be sent, or sent again, is decided as stopped.
  void send_no_more() noexcept { sends_no_more_ = true; }
  [[nodiscard]] std::size_t under_way() const noexcept { return tasks_.size(); }

 private:
  void send(Task& task);
  Reply* finish(Task& task);
  WaitClock::time_point send_due();
  void give_up_waiting();
  void sleep(WaitClock::time_point until, const std::stop_token& wake);

  Client& client_;
  const std::stop_token stop_;
  bool sends_no_more_ = false;
  std::vector<std::unique_ptr<Task>> tasks_{};
  std::optional<Http::Flight> http_{};
};

}  // namespace tidings::transport::aws

// What all services of the stand-in share: its clock, the lock that everything runs under, errors, and what tests
// ordered to go wrong.
#pragma once

#include <tidings/time.hpp>

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../aws_stub.hpp"
#include "http.hpp"

namespace tidings::support::aws {

/// Why a call is refused. The code is the one of JSON for SQS, the query protocol's for all else.
struct Refusal {
  int status = 400;
  std::string code{}, message{};
  std::optional<int> retry_after{};
};

/// What SQS says of a code on the wire.
struct SqsCode {
  std::string type{};   ///< With its namespace, as `__type` has it.
  std::string query{};  ///< As the older query protocol, the header and `Failed` have it.
};
[[nodiscard]] SqsCode sqs_code(const std::string& code);

/// Refusals that many calls share.
[[noreturn]] void refuse_parameter(const std::string& message);
[[noreturn]] void refuse_missing(const std::string& name);

/// A call on its way.
struct Call {
  const HttpRequest& http;
  std::string operation{};
  std::string principal{};  ///< The ARN of whom the key belongs to.
  std::unique_lock<std::mutex>& lock;
};

/// What tests ordered. Under the world's lock.
class Faults {
 public:
  struct Denied {
    std::string action{}, resource{};
  };

  void fail(const std::string& operation, int times, AwsFailure failure);
  void fail_entries(const std::string& operation, std::function<bool(const std::string&, const std::string&)> which,
                    AwsEntryFailure failure, int times);
  void drop(const std::string& operation, int times, AwsDrop when);

  [[nodiscard]] std::optional<AwsFailure> take_failure(const std::string& operation);
  [[nodiscard]] std::optional<AwsEntryFailure> take_entry_failure(const std::string& operation, const std::string& id,
                                                                  const std::string& body);
  [[nodiscard]] bool take_drop(const std::string& operation, AwsDrop when);
  /// `text`, unless a wrong one was ordered.
  [[nodiscard]] std::string checked(std::string text);

  std::set<std::string> held{};          ///< Calls whose answers wait.
  std::map<std::string, int> holding{};  ///< How many do.
  std::vector<Denied> denied{};
  int corrupt = 0, twice = 0;
  bool out_of_order = false, stale_ignored = false;
  int most_in_flight = 120'000;

 private:
  template <class What>
  struct Ordered {
    std::string operation{};
    int left = 0;
    What what{};
  };
  struct Entries {
    std::function<bool(const std::string&, const std::string&)> which{};
    AwsEntryFailure failure{};
  };
  std::vector<Ordered<AwsFailure>> failures_{};
  std::vector<Ordered<Entries>> entries_{};
  std::vector<Ordered<AwsDrop>> drops_{};
};

struct World {
  explicit World(AwsStubOptions from);

  [[nodiscard]] Wall now() const { return options.now(); }
  [[nodiscard]] std::string arn(const std::string& service, const std::string& name) const {
    return "arn:aws:" + service + ":" + options.region + ":" + options.account + ":" + name;
  }
  /// Refuses what was denied; `action` with its service.
  void authorize(const Call& call, const std::string& action, const std::string& resource) const;
  /// Waits for a change, at most until the clock should say `until`; false when everything ends.
  bool await_change(std::unique_lock<std::mutex>& lock, Wall until);
  void changed() { change.notify_all(); }

  AwsStubOptions options;
  std::uint16_t port = 0;
  std::mutex mutex{};
  std::condition_variable change{};
  std::condition_variable watched{};  ///< What tests wait for: calls that arrived, wait or are held.
  bool stopping = false;
  Faults faults{};
  std::map<std::string, int> requests{}, answered{};
  int signatures = 0, polls = 0, undelivered = 0;
};

}  // namespace tidings::support::aws

// What was published, on an engine that keeps no history: a group of its own that reads every event and does nothing.
// Commands have one group only, which is not it.
#pragma once

#include <tidings/tidings.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace market {

/// Any thread. Begins with what is published once it is made.
class Witness {
 public:
  Witness(tidings::Bus bus, std::vector<std::string> streams);

  /// The envelopes of a stream so far, each id once.
  [[nodiscard]] std::vector<std::string> envelopes(const std::string& stream) const;
  [[nodiscard]] std::uint64_t seen(const std::string& stream) const;

 private:
  void listen(const std::stop_token& stop);

  const std::vector<std::string> streams_;
  const tidings::Bus bus_;
  const std::unique_ptr<tidings::transport::Subscription> subscription_;
  mutable std::mutex mutex_{};
  std::map<std::string, std::map<std::string, std::string>> seen_{};  // By stream and id.
  std::jthread thread_{};
};

}  // namespace market

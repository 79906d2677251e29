// What the tests of bridge and archive share: numbered events of several keys, and the account of where they are.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "program.hpp"
#include "support/aws_stub.hpp"
#include "support/redis_server.hpp"

namespace tidings::cli_test {

/// Event `n` has the id `e<n>`; every fifth has no key, the others have one of seven.
[[nodiscard]] std::string numbered_lines(int first, int count);

/// What became of `count` numbered events, told from envelopes in the order in which a target stored them.
struct Account {
  int lost = 0, repeated = 0, foreign = 0;
  int disordered = 0;  ///< Of one key, behind a later one.
  int astray = 0;      ///< Without a key, behind a later one without.
};
[[nodiscard]] Account account_of(const std::vector<std::string>& envelopes, int count);

class MovingTest : public CliTest {
 protected:
  MovingTest();
  [[nodiscard]] std::string file_url(const std::string& name) const {
    return "sqlite:" + directory_ + "/" + name + "?durability=process";
  }
  /// Makes the stand-in for AWS known to programs and to this process.
  [[nodiscard]] std::string aws_url(support::AwsStub& aws) const;
  /// Publishes numbered events.
  void fill(const std::string& url, int first, int count) const;
  /// All envelopes of events:user, in the order of the stream.
  [[nodiscard]] std::vector<std::string> envelopes(const std::string& url) const;
  [[nodiscard]] std::size_t length(const std::string& url) const;
  /// Waits until events:user holds `count` there.
  void await_length(const std::string& url, std::size_t count) const;
  [[nodiscard]] std::string group_value(const std::string& url, const std::string& group, std::string_view name) const;
  [[nodiscard]] std::unique_ptr<Running> start_bridge(const std::string& from, const std::string& to,
                                                      Words more = {}) const;
  /// Moves all there is, and returns what it says of that.
  [[nodiscard]] std::string move_all(const std::string& from, const std::string& to, Words more = {}) const;
};

}  // namespace tidings::cli_test

// A client of AWS that knows nothing of what it talks to: libcurl, which signs by itself at the machine's time. Where a
// test's clock is elsewhere it is signed here, since libcurl 7.88 sends a date that it is given a second time.
#pragma once

#include <curl/curl.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aws/json.hpp"
#include "aws_stub.hpp"

namespace tidings::support {

struct AwsReply {
  int status = 0;  ///< 0 when there was no answer.
  std::string body{};
  std::map<std::string, std::string> headers{};  ///< Names in lower case.

  [[nodiscard]] aws::Json json() const { return aws::Json::parse(body).value_or(aws::Json()); }
  /// What stands in the first element of that name; empty when there is none.
  [[nodiscard]] std::string element(const std::string& name) const { return elements(name, 1).value(0); }
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
  struct Elements {
    std::vector<std::string> all{};
    [[nodiscard]] std::string value(std::size_t at) const { return at < all.size() ? all[at] : std::string(); }
  };
  [[nodiscard]] Elements elements(const std::string& name, std::size_t most = 1000) const;
};

/// One thread's client, with one connection that stays open.
class AwsClient {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;
  using Fields = std::vector<std::pair<std::string, std::string>>;

  /// Signs with `key`, at the time that `now` says; by libcurl where that is about the machine's.
  AwsClient(std::string url, std::string region, AwsKey key, std::function<Wall()> now);

  AwsReply sqs(const std::string& operation, const aws::Json& body);
  /// `Action` and `Version` are added.
  AwsReply sns(const std::string& action, Fields fields);
  AwsReply sts(const std::string& action, Fields fields);
  /// Signed for a service, or not at all for none.
  AwsReply request(const std::string& service, const std::string& method, const std::string& path,
                   const Headers& headers, const std::string& body);

  AwsKey key;
  std::string region;
  bool to_the_second = false;  ///< Never by libcurl.

 private:
  [[nodiscard]] bool by_curl() const;
  void sign(const std::string& service, const std::string& method, const std::string& path, Headers& headers,
            const std::string& body) const;
  AwsReply query(const std::string& service, const std::string& version, const std::string& action, Fields fields);

  std::string url_;
  std::function<Wall()> now_;
  std::unique_ptr<CURL, void (*)(CURL*)> curl_;
};

}  // namespace tidings::support

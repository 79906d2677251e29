// As much of S3 as a claim check needs: objects of buckets, put and got.
#pragma once

#include <map>
#include <string>

#include "world.hpp"

namespace tidings::support::aws {

/// Under the world's lock.
class S3 {
 public:
  explicit S3(World& world) : world_(world) {}

  /// `PutObject`, `GetObject` or `CreateBucket`; empty when it is none of S3's.
  [[nodiscard]] static std::string operation_of(const HttpRequest& request);
  [[nodiscard]] HttpReply answer(const Call& call);

  using Objects = std::map<std::string, std::string>;
  [[nodiscard]] std::map<std::string, Objects>& buckets() noexcept { return buckets_; }

 private:
  HttpReply put(const HttpRequest& request, Objects& bucket, const std::string& key);

  World& world_;
  std::map<std::string, Objects> buckets_{};
};

}  // namespace tidings::support::aws

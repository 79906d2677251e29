#include "s3.hpp"

#include "text.hpp"

namespace tidings::support::aws {
namespace {

struct Target {
  std::string bucket{}, key{};
};

Target target_of(const HttpRequest& request) {
  const std::string path = percent_decoded(request.path, false).value_or("");
  const std::size_t slash = std::min(path.find('/', 1), path.size());
  return {path.substr(1, slash - 1), path.substr(std::min(slash + 1, path.size()))};
}

}  // namespace

std::string S3::operation_of(const HttpRequest& request) {
  const std::string_view authorization = request.header("authorization").value_or("");
  if (authorization.find("/s3/aws4_request") == std::string_view::npos) return {};
  if (target_of(request).key.empty()) return request.method == "PUT" ? "CreateBucket" : "";
  return request.method == "PUT" ? "PutObject" : request.method == "GET" ? "GetObject" : "";
}

HttpReply S3::answer(const Call& call) {
  const auto [name, key] = target_of(call.http);
  if (call.operation == "CreateBucket") {
    buckets_.try_emplace(name);
    return {};
  }
  world_.authorize(call, "s3:" + call.operation, "arn:aws:s3:::" + name + "/" + key);
  const auto bucket = buckets_.find(name);
  if (bucket == buckets_.end()) throw Refusal{404, "NoSuchBucket", "The specified bucket does not exist", {}};
  if (call.operation == "PutObject") return put(call.http, bucket->second, key);
  const auto object = bucket->second.find(key);
  if (object == bucket->second.end()) throw Refusal{404, "NoSuchKey", "The specified key does not exist.", {}};
  return {.headers = {{"Content-Type", "application/json"}}, .body = object->second};
}

HttpReply S3::put(const HttpRequest& request, Objects& bucket, const std::string& key) {
  if (key.size() > 1024) throw Refusal{400, "KeyTooLongError", "Your key is too long", {}};
  if (const auto sum = request.header("x-amz-checksum-sha256"); sum && *sum != base64(sha256(request.body))) {
    throw Refusal{400, "BadDigest", "The SHA256 you specified did not match the calculated checksum.", {}};
  }
  bucket.insert_or_assign(key, request.body);
  return {.headers = {{"ETag", "\"" + hex(md5(request.body)) + "\""}}};
}

}  // namespace tidings::support::aws

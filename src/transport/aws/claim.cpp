#include "transport/aws/claim.hpp"

#include <algorithm>
#include <charconv>

#include <tidings/detail/json_reader.hpp>
#include <tidings/error.hpp>
#include <tidings/url.hpp>

#include "core/json_text.hpp"

namespace tidings::transport::aws {
namespace {

// The Extended Client Library of Amazon writes the first, and wrote the second; the third is ours alone, since nobody
// else can read a folder of ours.
constexpr std::string_view s3_class = "software.amazon.payloadoffloading.PayloadS3Pointer",
                           older_s3_class = "com.amazon.sqs.javamessaging.MessageS3Pointer",
                           file_class = "tidings.FilePointer";
constexpr std::size_t longest_id = 64, longest_stream = 220, digest_size = 64;
constexpr std::size_t longest_s3_key = 1024, longest_prefix = 512;

bool is_plain(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}
bool is_plain_or_dot(char c) noexcept { return is_plain(c) || c == '.'; }
bool is_digest_digit(char c) noexcept { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

template <class Predicate>
bool all(std::string_view text, Predicate predicate) noexcept {
  return std::all_of(text.begin(), text.end(), predicate);
}

[[noreturn]] void refuse(const std::string& why) {
  throw Error(
      ErrorCode::invalid,
      "payloads=: " + why +
          "; write payloads=file:///var/lib/tidings/payloads or payloads=s3://BUCKET/PREFIX (a % in it as %25)");
}

/// Whether a segment of a path leads to where it stands or above it.
bool has_dot_segment(std::string_view path) noexcept {
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view segment = path.substr(at, end - at);
    if (segment == "." || segment == "..") return true;
    at = end + 1;
  }
  return false;
}

bool is_bucket(std::string_view name) noexcept {
  const auto inner = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  const auto outer = [&](char c) { return inner(c) && c != '-' && c != '.'; };
  return name.size() >= 3 && name.size() <= 63 && all(name, inner) && outer(name.front()) && outer(name.back()) &&
         name.find("..") == std::string_view::npos;
}

PayloadPlace file_place(const Url& url) {
  if (!url.hosts.empty()) refuse("a folder has no host, and begins with three slashes");
  if (url.path.size() < 2 || !url.path.starts_with('/')) refuse("the folder is not an absolute path");
  if (has_dot_segment(url.path)) refuse("the folder's path holds a . or .. segment");
  PayloadPlace place{.kind = PayloadPlace::Kind::file, .folder = url.path};
  while (place.folder.size() > 1 && place.folder.ends_with('/')) place.folder.pop_back();
  return place;
}

PayloadPlace s3_place(const Url& url) {
  if (url.hosts.size() != 1 || url.hosts.front().second != 0 || !is_bucket(url.hosts.front().first)) {
    refuse("the bucket's name is none (3 to 63 of a-z, 0-9, - and .)");
  }
  if (!url.user.empty() || !url.password.empty()) refuse("keys are not in URLs");
  PayloadPlace place{.kind = PayloadPlace::Kind::s3, .bucket = url.hosts.front().first, .prefix = url.path};
  while (place.prefix.ends_with('/')) place.prefix.pop_back();
  const bool plain = all(place.prefix, [](char c) { return is_plain_or_dot(c) || c == '/'; });
  if (!plain || place.prefix.starts_with('/') || place.prefix.find("//") != std::string::npos ||
      place.prefix.size() > longest_prefix || has_dot_segment(place.prefix)) {
    refuse("the prefix is not made of letters, digits, - _ . and single slashes");
  }
  return place;
}

/// The digest in a name of our making; empty for any other name.
std::string_view digest_in(std::string_view name) noexcept {
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos || name.size() < slash + 2 + digest_size + 1) return {};
  const std::string_view stream = name.substr(0, slash), file = name.substr(slash + 1);
  const std::string_view digest = file.substr(file.size() - digest_size);
  const std::string_view id = file.substr(0, file.size() - digest_size - 1);
  const bool ours = (stream.starts_with("events-") || stream.starts_with("commands-")) &&
                    stream.size() <= longest_stream && all(stream, is_plain_or_dot) &&
                    file[file.size() - digest_size - 1] == '.' && !id.empty() && id.size() <= longest_id &&
                    all(id, is_plain) && all(digest, is_digest_digit);
  return ours ? digest : std::string_view{};
}

struct Read {
  std::string name{}, bucket{}, key{}, file{};
  std::uint64_t bytes = 0;
};

void read_member(detail::JsonValue& value, const detail::JsonPath& path, void* target) {
  Read& out = *static_cast<Read*>(target);
  if (path.key == "s3BucketName") return detail::read_string(value, path, out.bucket);
  if (path.key == "s3Key") return detail::read_string(value, path, out.key);
  if (path.key == "file") return detail::read_string(value, path, out.file);
  if (path.key == "bytes") out.bytes = detail::read_unsigned(value, path, static_cast<std::uint64_t>(-1));
}

Read read_text(std::string_view body) {
  Read out;
  const std::string padded = detail::padded_copy(body);
  detail::read_document(
      std::string_view(padded).substr(0, body.size()),
      [](detail::JsonValue& value, const detail::JsonPath& path, void* target) {
        detail::read_elements(
            value, path,
            [](detail::JsonValue& each, const detail::JsonPath& at, void* to) {
              Read& read = *static_cast<Read*>(to);
              const detail::JsonKind kind = detail::kind_of(each, at);
              if (kind == detail::JsonKind::string) return detail::read_string(each, at, read.name);
              if (kind == detail::JsonKind::object) detail::read_entries(each, at, read_member, to);
            },
            target);
      },
      &out);
  return out;
}

Pointer refused(const std::string& why) { return {.refused = why}; }

Pointer read_file_pointer(const PayloadPlace& place, const Read& read) {
  if (place.kind != PayloadPlace::Kind::file) {
    return refused("its payload is a file, and payloads= names a bucket; name the folder, then redrive it");
  }
  const std::string_view digest = digest_in(read.file);
  if (digest.empty()) {
    return refused("it points to \"" + core::for_message(read.file, 100) + "\", which is no payload of ours");
  }
  return {.key = read.file, .sha256 = std::string(digest), .bytes = read.bytes};
}

Pointer read_s3_pointer(const PayloadPlace& place, const Read& read) {
  if (place.kind != PayloadPlace::Kind::s3) {
    return refused("its payload is in S3, and payloads= names a folder; name its bucket, then redrive it");
  }
  if (read.bucket != place.bucket) {
    return refused("its payload is in the bucket \"" + core::for_message(read.bucket, 80) +
                   "\", and only that of payloads= is read; name it there, then redrive it");
  }
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (read.key.empty() || read.key.size() > longest_s3_key || has_dot_segment(read.key) ||
      std::any_of(read.key.begin(), read.key.end(), control)) {
    return refused("its payload's key \"" + core::for_message(read.key, 100) + "\" is none that is followed");
  }
  std::string_view name = read.key;
  if (!place.prefix.empty()) {
    const bool inside = name.starts_with(place.prefix) && name.substr(place.prefix.size()).starts_with('/');
    name = inside ? name.substr(place.prefix.size() + 1) : std::string_view{};
  }
  return {.key = read.key, .sha256 = std::string(digest_in(name))};
}

}  // namespace

PayloadPlace payload_place(std::string_view text) {
  const Url url = Url::parse(text);
  if (!url.options.empty()) refuse("it has options of its own, and there are none");
  if (url.scheme == "file") return file_place(url);
  if (url.scheme == "s3") return s3_place(url);
  refuse("there is no store " + url.scheme + ":");
}

std::string payload_key(const PayloadPlace& place, std::string_view stream, std::string_view id,
                        std::string_view sha256) {
  std::string key;
  if (!place.prefix.empty()) key.append(place.prefix) += '/';
  const auto add = [&](std::string_view text, std::size_t most, auto allowed, char instead) {
    for (const char c : text.substr(0, most)) key += allowed(c) ? c : instead;
  };
  add(stream, longest_stream, is_plain_or_dot, '-');  // The colon of `events:user`.
  key += '/';
  add(id.empty() ? std::string_view("_") : id, longest_id, is_plain, '_');
  return key.append(".").append(sha256);
}

std::string write_pointer(const PayloadPlace& place, std::string_view key, std::size_t bytes) {
  // Nothing in it needs an escape: see payload_key().
  std::string out = "[\"";
  if (place.kind == PayloadPlace::Kind::s3) {
    out.append(s3_class).append(R"(",{"s3BucketName":")").append(place.bucket);
    return out.append(R"(","s3Key":")").append(key).append("\"}]");
  }
  out.append(file_class).append(R"(",{"file":")").append(key);
  return out.append(R"(","bytes":)").append(std::to_string(bytes)).append("}]");
}

MessageAttribute pointer_attribute(const PayloadPlace& place, std::size_t bytes) {
  // On a pointer that they cannot follow, other clients would stumble over the attribute.
  if (place.kind != PayloadPlace::Kind::s3) return {};
  return {.name = std::string(size_attribute), .value = std::to_string(bytes), .type = "Number"};
}

bool is_pointer(std::string_view body) noexcept {
  constexpr std::string_view blanks = " \t\r\n";
  const auto skip = [&](std::string_view mark) {
    body.remove_prefix(std::min(body.find_first_not_of(blanks), body.size()));
    if (!body.starts_with(mark)) return false;
    body.remove_prefix(mark.size());
    return true;
  };
  if (!skip("[") || !skip("\"")) return false;
  const std::string_view name = body.substr(0, body.find('"'));
  return name.size() < body.size() && (name == s3_class || name == older_s3_class || name == file_class);
}

Pointer read_pointer(const PayloadPlace& place, std::string_view body) {
  Read read;
  try {
    read = read_text(body);
  } catch (const Error& error) {
    return refused(std::string("the pointer to its payload cannot be read: ") + error.what());
  }
  return read.name == file_class ? read_file_pointer(place, read) : read_s3_pointer(place, read);
}

}  // namespace tidings::transport::aws

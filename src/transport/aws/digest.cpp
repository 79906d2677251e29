#include "transport/aws/digest.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include <tidings/error.hpp>

namespace tidings::transport::aws {
namespace {

/// Looking an algorithm up by its name costs more than digesting a small request: it is done once.
class Algorithm {
 public:
  explicit Algorithm(const char* name) : digest_(EVP_MD_fetch(nullptr, name, nullptr)) {
    if (digest_ == nullptr) {
      throw Error(ErrorCode::internal, std::string("aws: OpenSSL has no ") + name + "; its configuration forbids it");
    }
  }
  ~Algorithm() { EVP_MD_free(digest_); }
  Algorithm(const Algorithm&) = delete;
  Algorithm& operator=(const Algorithm&) = delete;
  [[nodiscard]] const EVP_MD* get() const noexcept { return digest_; }

 private:
  EVP_MD* digest_;
};

EVP_MD_CTX& context() {
  struct Free {
    void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
  };
  static thread_local const std::unique_ptr<EVP_MD_CTX, Free> of_thread(EVP_MD_CTX_new());
  if (!of_thread) throw Error(ErrorCode::internal, true, "aws: no memory for a digest");
  return *of_thread;
}

void digest(const Algorithm& algorithm, std::initializer_list<std::string_view> parts, unsigned char* out) {
  EVP_MD_CTX& with = context();
  bool good = EVP_DigestInit_ex2(&with, algorithm.get(), nullptr) == 1;
  for (const std::string_view part : parts) good = good && EVP_DigestUpdate(&with, part.data(), part.size()) == 1;
  if (!good || EVP_DigestFinal_ex(&with, out, nullptr) != 1) {
    throw Error(ErrorCode::internal, "aws: OpenSSL cannot compute a digest");
  }
}

}  // namespace

Sha256 sha256(std::initializer_list<std::string_view> parts) {
  static const Algorithm algorithm("SHA256");
  Sha256 out{};
  digest(algorithm, parts, out.data());
  return out;
}

Sha256 hmac_sha256(std::string_view key, std::string_view text) {
  constexpr std::size_t block = 64;
  Sha256 shorter{};
  if (key.size() > block) {
    shorter = sha256({key});
    key = as_key(shorter);
  }
  std::array<char, block> inner{}, outer{};
  std::copy(key.begin(), key.end(), inner.begin());
  outer = inner;
  for (char& c : inner) c = static_cast<char>(c ^ 0x36);
  for (char& c : outer) c = static_cast<char>(c ^ 0x5c);
  const Sha256 first = sha256({{inner.data(), block}, text});
  return sha256({{outer.data(), block}, as_key(first)});
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out(bytes.size() * 2, '0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    out[2 * i] = digits[byte >> 4];
    out[2 * i + 1] = digits[byte & 15];
  }
  return out;
}

std::string md5_hex(std::string_view text) {
  static const Algorithm algorithm("MD5");
  std::array<unsigned char, 16> out{};
  digest(algorithm, {text}, out.data());
  return hex({reinterpret_cast<const char*>(out.data()), out.size()});
}

std::string sha1_hex(std::string_view text) {
  static const Algorithm algorithm("SHA1");
  std::array<unsigned char, 20> out{};
  digest(algorithm, {text}, out.data());
  return hex({reinterpret_cast<const char*>(out.data()), out.size()});
}

std::string base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

}  // namespace tidings::transport::aws

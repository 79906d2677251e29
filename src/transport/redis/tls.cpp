#include "transport/redis/tls.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <filesystem>

#include <tidings/error.hpp>

namespace tidings::transport::redis {
namespace {

// The first reason that OpenSSL has on its list, which is emptied.
std::string reason() {
  const unsigned long code = ERR_get_error();
  const char* const text = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return text == nullptr ? "no reason given" : text;
}

[[noreturn]] void unusable(const char* option, const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    throw Error(ErrorCode::invalid, std::string("redis: ") + option + "=" + path +
                                        ": there is no such file; name a PEM "
                                        "file that this user may read");
  }
  throw Error(ErrorCode::invalid, std::string("redis: ") + option + "=" + path + " cannot be used: " + reason() +
                                      "; name a PEM file without a passphrase that this user may read");
}

bool is_address(const std::string& host) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, host.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

}  // namespace

void Tls::Free::operator()(ssl_ctx_st* context) const noexcept { SSL_CTX_free(context); }
void TlsSession::Free::operator()(ssl_st* session) const noexcept { SSL_free(session); }

Tls::Tls(const TlsFiles& files) : context_(SSL_CTX_new(TLS_client_method())), server_name_(files.server_name) {
  if (!context_) throw Error(ErrorCode::internal, "redis: TLS cannot be set up: " + reason());
  SSL_CTX* const context = context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  std::error_code ignored;
  // An encrypted key would have OpenSSL ask on the terminal, and the service stand still.
  SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return -1; });
  if (files.ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) unusable("ca", "the system's");
  } else if (std::filesystem::is_directory(files.ca, ignored)) {
    if (SSL_CTX_load_verify_dir(context, files.ca.c_str()) != 1) unusable("ca", files.ca);
  } else if (SSL_CTX_load_verify_file(context, files.ca.c_str()) != 1) {
    unusable("ca", files.ca);
  }
  if (files.certificate.empty()) {
    if (!files.key.empty()) throw Error(ErrorCode::invalid, "redis: key= needs cert=; name the certificate too");
    return;
  }
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1) unusable("cert", files.certificate);
  const std::string& key = files.key.empty() ? files.certificate : files.key;
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1) return;
  if (!files.key.empty()) unusable("key", key);
  ERR_clear_error();
  throw Error(ErrorCode::invalid, "redis: cert=" + key + " holds no key without a passphrase; name it with key=");
}

TlsSession::TlsSession(const Tls& tls, const std::string& host)
    : host_(tls.server_name_.empty() ? host : tls.server_name_), session_(SSL_new(tls.context_.get())) {
  in_ = BIO_new(BIO_s_mem());
  out_ = BIO_new(BIO_s_mem());
  if (!session_ || in_ == nullptr || out_ == nullptr) {
    BIO_free(in_);
    BIO_free(out_);
    throw Error(ErrorCode::internal, true, "redis: a TLS session cannot be set up: " + reason());
  }
  SSL_set_bio(session_.get(), in_, out_);
  SSL_set_connect_state(session_.get());
  const bool checked = is_address(host_)
                           ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session_.get()), host_.c_str()) == 1
                           : SSL_set_tlsext_host_name(session_.get(), host_.c_str()) == 1 &&
                                 SSL_set1_host(session_.get(), host_.c_str()) == 1;
  // Without it any host's certificate would do.
  if (!checked) throw Error(ErrorCode::invalid, "redis: TLS cannot check the name " + host_ + ": " + reason());
}

void TlsSession::fail(int result) {
  const long verdict = SSL_get_verify_result(session_.get());
  if (verdict != X509_V_OK) {
    ERR_clear_error();
    const bool time = verdict == X509_V_ERR_CERT_HAS_EXPIRED || verdict == X509_V_ERR_CERT_NOT_YET_VALID;
    throw Error(ErrorCode::unauthorized, "redis: the certificate of " + host_ +
                                             " is not believed: " + X509_verify_cert_error_string(verdict) +
                                             (time ? "; renew it on the server, and check this machine's clock"
                                                   : "; give its authority with ca=, or its name with server_name="));
  }
  const int kind = SSL_get_error(session_.get(), result);
  throw Error(ErrorCode::unavailable, true,
              "redis: TLS with " + host_ + " failed: " + (kind == SSL_ERROR_SSL ? reason() : "the connection ended") +
                  "; does this port speak TLS, and does it want a certificate (cert=, key=)?");
}

bool TlsSession::shake_hands() {
  ERR_clear_error();
  const int result = SSL_do_handshake(session_.get());
  if (result == 1) return true;
  const int kind = SSL_get_error(session_.get(), result);
  if (kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE) fail(result);
  return false;
}

void TlsSession::incoming(std::span<const std::byte> bytes) {
  BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
}

std::string TlsSession::outgoing() {
  std::string bytes(BIO_ctrl_pending(out_), '\0');
  if (!bytes.empty()) BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

void TlsSession::write(std::string_view plain) {
  // A record holds 16 KiB; the pieces keep the lengths within what OpenSSL's int counts.
  constexpr std::size_t piece = std::size_t{1} << 20;
  while (!plain.empty()) {
    ERR_clear_error();
    const int written = SSL_write(session_.get(), plain.data(), static_cast<int>(std::min(plain.size(), piece)));
    if (written <= 0) fail(written);
    plain.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::size_t TlsSession::read(std::span<std::byte> plain, bool& ended) {
  ERR_clear_error();
  const int wanted = static_cast<int>(std::min(plain.size(), std::size_t{1} << 20));
  const int got = SSL_read(session_.get(), plain.data(), wanted);
  if (got > 0) return static_cast<std::size_t>(got);
  const int kind = SSL_get_error(session_.get(), got);
  ended = kind == SSL_ERROR_ZERO_RETURN;
  if (!ended && kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE) fail(got);
  return 0;
}

bool TlsSession::pending() const noexcept { return SSL_pending(session_.get()) > 0 || BIO_ctrl_pending(in_) > 0; }

}  // namespace tidings::transport::redis

// TLS as a machine without I/O: what goes over the wire comes in and out as bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct ssl_ctx_st;
struct ssl_st;
struct bio_st;

namespace tidings::transport::redis {

/// PEM files of a URL; each may be empty.
struct TlsFiles {
  std::string ca{};           ///< Who is believed, a file or a directory; empty: whom the system believes.
  std::string certificate{};  ///< Ours, with its chain, where the server wants one.
  std::string key{};          ///< Of `certificate`; empty: the same file.
  std::string server_name{};  ///< Whose certificate is expected; empty: the host's that is dialled.
};

/// What sessions of one URL share. Verification is always on. Any thread.
class Tls {
 public:
  /// Reads the files. Throws Error{invalid} for what cannot be read or used.
  explicit Tls(const TlsFiles& files);

 private:
  friend class TlsSession;
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  std::unique_ptr<ssl_ctx_st, Free> context_;
  std::string server_name_;
};

/// One connection's side of TLS 1.2 or 1.3, that of a client. One thread at a time. What the peer does wrong is
/// Error{unauthorized} when its certificate is not believed, and Error{unavailable} otherwise.
class TlsSession {
 public:
  /// `host`: a name or an address, which the certificate has to be for.
  TlsSession(const Tls& tls, const std::string& host);

  /// Goes on with the handshake; true once it is over. Between calls outgoing() is sent, and what came is handed to
  /// incoming().
  bool shake_hands();
  /// Takes bytes of the wire in.
  void incoming(std::span<const std::byte> bytes);
  /// What is to be sent next; taken by this call.
  std::string outgoing();
  /// Encrypts all of `plain`; it is in outgoing() then.
  void write(std::string_view plain);
  /// Decrypts into `plain` what has come; 0 when more has to come first. `ended` becomes true at the peer's farewell.
  std::size_t read(std::span<std::byte> plain, bool& ended);
  /// Whether bytes that came were not read yet.
  [[nodiscard]] bool pending() const noexcept;

 private:
  struct Free {
    void operator()(ssl_st* session) const noexcept;
  };
  [[noreturn]] void fail(int result);

  std::string host_;
  std::unique_ptr<ssl_st, Free> session_;
  bio_st* in_ = nullptr;  // Both are the session's.
  bio_st* out_ = nullptr;
};

}  // namespace tidings::transport::redis

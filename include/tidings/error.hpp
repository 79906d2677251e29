// The one way in which Tidings fails.
//
// Every call that cannot do what it was asked to throws `tidings::Error`. Calls on many items (publish_batch, settle)
// return one result an item instead, and throw only when the call as a whole could not be made. The message says what
// happened, to which stream and event, and what to do next; it never holds a password, a token or a secret of a URL.
//
//   try {
//     bus.publish(UserCreated{"usr_1", "a@example.com", {}});
//   } catch (const tidings::Error& error) {
//     if (error.retryable()) schedule_again(); else report(error.what());
//   }
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tidings {

/// What kind of thing went wrong. The values are stable; programs may branch on them.
enum class ErrorCode : std::uint8_t {
  ok,             ///< Nothing: the code of a successful item.
  invalid,        ///< The input is wrong: a URL, a name, an option, JSON or an event. Repeating it cannot help.
  too_large,      ///< An event above the limit. Repeating it cannot help.
  not_found,      ///< A stream, group, event or dead letter that does not exist.
  conflict,       ///< Something else stands there: a second command owner, a group that holds unsettled work.
  not_supported,  ///< This engine does not offer it (see transport::Capabilities).
  unauthorized,   ///< The engine refused the credentials or the file its permissions.
  unavailable,    ///< The engine cannot be reached or is busy; the same call may work later.
  timeout,        ///< The deadline passed first. A publish that timed out may or may not have been stored.
  full,           ///< No room: the disk, or a queue with back-pressure whose deadline passed.
  corrupt,        ///< Bytes that fail their checksum, or a file that is not ours.
  closed,         ///< The bus, service or subscription was closed before.
  cancelled,      ///< The caller's stop token fired.
  stale,          ///< A settlement of a delivery that this subscription no longer holds.
  io,             ///< The operating system failed a read, a write or a sync. After a failed sync: reopen.
  internal,       ///< A defect in Tidings; please report it.
};

/// The code in words, as error messages and JSON show it: "invalid", "not_found" and so on.
[[nodiscard]] std::string_view to_string(ErrorCode code) noexcept;

/// The exception of every public call. Copyable, and safe to keep beyond the call that threw it.
class Error : public std::runtime_error {
 public:
  /// An error of `code`; `message` ends with what to do next. `retryable` says that the same call may succeed later.
  Error(ErrorCode code, bool retryable, const std::string& message)
      : std::runtime_error(message), code_(code), retryable_(retryable) {}

  /// An error that repeating the call cannot cure.
  Error(ErrorCode code, const std::string& message) : Error(code, false, message) {}

  /// The kind of failure.
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

  /// True when the same call, unchanged, may succeed later.
  [[nodiscard]] bool retryable() const noexcept { return retryable_; }

 private:
  ErrorCode code_;
  bool retryable_;
};

}  // namespace tidings

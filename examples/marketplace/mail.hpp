// Sending a mail over SMTP, with libcurl.
#pragma once

#include <string>

namespace market {

/// One mail.
struct Mail {
  std::string message_id;      ///< What makes it the same mail when it comes twice.
  std::string correlation_id;  ///< The request that led to it, as a header of its own.
  std::string to, subject, text;
};

/// Hands `mail` to the server of $SMTP_URL (smtp://HOST:PORT). Keeps one connection a thread. Throws tidings::Reject
/// when the server refuses it for good (5xx), std::runtime_error when it may take it later.
void send_mail(const Mail& mail);

}  // namespace market

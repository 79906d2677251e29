#include "mail.hpp"

#include <curl/curl.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

#include <tidings/context.hpp>

namespace market {
namespace {

constexpr const char* sender = "no-reply@marketplace.example";

std::string smtp_url() {
  const char* url = std::getenv("SMTP_URL");
  if (url == nullptr || *url == '\0')
    throw std::runtime_error("SMTP_URL is not set: name the mail server, smtp://HOST:PORT");
  return url;
}

/// A header's value may not end the header.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\r' || c == '\n') c = ' ';
  }
  return text;
}

std::string compose(const Mail& mail) {
  return "From: " + std::string(sender) + "\r\nTo: " + one_line(mail.to) + "\r\nSubject: " + one_line(mail.subject) +
         "\r\nMessage-ID: <" + mail.message_id + ">\r\nX-Correlation-Id: " + one_line(mail.correlation_id) +
         "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + mail.text + "\r\n";
}

struct Rest {
  std::string_view text;
};

std::size_t read_some(char* into, std::size_t size, std::size_t count, void* user) {
  auto& rest = *static_cast<Rest*>(user);
  const std::size_t taken = std::min(size * count, rest.text.size());
  std::memcpy(into, rest.text.data(), taken);
  rest.text.remove_prefix(taken);
  return taken;
}

CURL* connection() {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  thread_local const std::unique_ptr<CURL, void (*)(CURL*)> handle(ready ? curl_easy_init() : nullptr,
                                                                   curl_easy_cleanup);
  if (!handle) throw std::runtime_error("libcurl cannot start");
  curl_easy_reset(handle.get());  // Of its options; the connection stays.
  return handle.get();
}

}  // namespace

void send_mail(const Mail& mail) {
  CURL* const curl = connection();
  const std::string url = smtp_url(), text = compose(mail);
  Rest rest{text};
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> recipients(curl_slist_append(nullptr, mail.to.c_str()),
                                                                      curl_slist_free_all);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_MAIL_FROM, sender);
  curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients.get());
  curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_some);
  curl_easy_setopt(curl, CURLOPT_READDATA, &rest);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, 15L);
  const CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK) return;
  long answer = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer);
  const std::string why = std::string("mail: ") + curl_easy_strerror(code) +
                          (answer != 0 ? " (the server says " + std::to_string(answer) + ")" : "");
  if (answer >= 500 && answer < 600) throw tidings::Reject{why};
  throw std::runtime_error(why);
}

}  // namespace market

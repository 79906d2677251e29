#include "mail.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <stdexcept>

#include <tidings/context.hpp>

#include "requests.hpp"

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

/// A header's text as RFC 2047 wants it when it is not ASCII.
std::string encoded(const std::string& text) {
  if (is_plain(text)) return text;
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out = "=?utf-8?Q?";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) {
      out.push_back(c);
    } else {
      out += {'=', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return out + "?=";
}

std::string date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &parts)};
}

std::string compose(const Mail& mail) {
  return "Date: " + date() + "\r\nFrom: " + std::string(sender) + "\r\nTo: " + one_line(mail.to) +
         "\r\nSubject: " + encoded(one_line(mail.subject)) + "\r\nMessage-ID: <" + mail.message_id +
         ">\r\nX-Correlation-Id: " + one_line(mail.correlation_id) +
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

/// The latest line in which the server refuses something.
std::size_t hear(char* bytes, std::size_t size, std::size_t count, void* user) {
  std::string& line = *static_cast<std::string*>(user);
  if (size * count == 0 || (*bytes != '4' && *bytes != '5')) return size * count;
  line.assign(bytes, size * count);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.pop_back();
  return size * count;
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
  if (!is_address(mail.to)) throw tidings::Reject{"mail: the recipient is not an address"};
  CURL* const curl = connection();
  const std::string url = smtp_url(), text = compose(mail);
  Rest rest{text};
  std::string said;
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> recipients(curl_slist_append(nullptr, mail.to.c_str()),
                                                                      curl_slist_free_all);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_MAIL_FROM, sender);
  curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients.get());
  curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_some);
  curl_easy_setopt(curl, CURLOPT_READDATA, &rest);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, hear);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &said);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, 15L);
  const CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK) return;
  const std::string why =
      "mail: " + (!said.empty() ? "the server says: " + said : std::string(curl_easy_strerror(code)));
  if (said.starts_with('5')) throw tidings::Reject{why};
  throw std::runtime_error(why);
}

}  // namespace market

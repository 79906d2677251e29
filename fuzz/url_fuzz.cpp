// Any text is refused with an Error or parsed, and what is shown of it can be parsed again.
#include <cstddef>
#include <cstdint>
#include <string>

#include <tidings/error.hpp>
#include <tidings/url.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  tidings::Url url;
  try {
    url = tidings::Url::parse(text);
  } catch (const tidings::Error&) {
    return 0;
  }
  static_cast<void>(tidings::Url::parse(url.redacted()));
  return 0;
}

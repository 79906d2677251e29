#include <tidings/time.hpp>

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>

namespace tidings {
namespace {

using namespace std::chrono;

class SystemClock final : public Clock {
 public:
  Wall wall() const noexcept override {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return Wall{Millis{static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000}};
  }
  Steady steady() const noexcept override {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return Steady{static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
  }
};

/// Writes `value` with exactly `width` digits.
void put_digits(char* out, unsigned value, int width) noexcept {
  for (int i = width - 1; i >= 0; --i) {
    out[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

/// Reads exactly `width` digits off the front of `text`; -1 when they are not there.
int take_digits(std::string_view& text, std::size_t width) noexcept {
  if (text.size() < width) return -1;
  int value = 0;
  for (std::size_t i = 0; i < width; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(width);
  return value;
}

bool take(std::string_view& text, char expected) noexcept {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

/// Reads `.123…` into milliseconds, cutting what is finer. At least one digit must follow the point.
std::optional<int> take_fraction(std::string_view& text) noexcept {
  if (!take(text, '.')) return 0;
  int millis = 0;
  int digits = 0;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    if (digits < 3) millis = millis * 10 + (text.front() - '0');
    ++digits;
    text.remove_prefix(1);
  }
  if (digits == 0) return std::nullopt;
  for (int i = digits; i < 3; ++i) millis *= 10;
  return millis;
}

/// Reads `Z`, `+02:00` or `-0530` to the end of the text.
std::optional<minutes> take_offset(std::string_view text) noexcept {
  if (text == "Z" || text == "z") return minutes{0};
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
  const bool west = text.front() == '-';
  text.remove_prefix(1);
  const int hour = take_digits(text, 2);
  take(text, ':');
  const int minute = take_digits(text, 2);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || !text.empty()) return std::nullopt;
  const minutes offset{hour * 60 + minute};
  return west ? -offset : offset;
}

void write_new_time(char* text, Wall time) noexcept {
  const sys_days day = floor<days>(time);
  const year_month_day date{day};
  const auto in_day = static_cast<unsigned>((time - day).count());
  // The wire's four digits end at 9999; a time beyond is a caller's mistake and is written as the nearest that fits.
  const int year = static_cast<int>(date.year());
  if (year < 0 || year > 9999) {
    const std::string_view nearest = year < 0 ? "0000-01-01T00:00:00.000Z" : "9999-12-31T23:59:59.999Z";
    nearest.copy(text, nearest.size());
    return;
  }
  put_digits(text, static_cast<unsigned>(year), 4);
  text[4] = '-';
  put_digits(text + 5, static_cast<unsigned>(date.month()), 2);
  text[7] = '-';
  put_digits(text + 8, static_cast<unsigned>(date.day()), 2);
  text[10] = 'T';
  put_digits(text + 11, in_day / 3'600'000, 2);
  text[13] = ':';
  put_digits(text + 14, in_day / 60'000 % 60, 2);
  text[16] = ':';
  put_digits(text + 17, in_day / 1'000 % 60, 2);
  text[19] = '.';
  put_digits(text + 20, in_day % 1'000, 3);
  text[23] = 'Z';
}

struct Unit {
  std::string_view suffix;
  std::int64_t millis;
};
constexpr std::array<Unit, 5> units{{{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::int64_t longest_duration = 100LL * 36'525 * 864'000;  // 100 years of 365.25 days.

}  // namespace

const Clock& system_clock() noexcept {
  // Never destroyed: threads may still read it while the process exits.
  static const SystemClock* const clock = new SystemClock;
  return *clock;
}

void append_time(std::string& out, Wall time) {
  // Many events in a row are of the same millisecond.
  struct Last {
    Wall time{};
    char text[25] = "1970-01-01T00:00:00.000Z";
  };
  thread_local Last last;
  if (time != last.time) {
    write_new_time(last.text, time);
    last.time = time;
  }
  out.append(last.text, 24);
}

std::string format_time(Wall time) {
  std::string out;
  append_time(out, time);
  return out;
}

namespace {

/// Reads the form that append_time() writes, of an instant that it can write; nothing for any other.
std::optional<Wall> parse_own_time(std::string_view text) noexcept {
  // What is added to a byte that is a digit, or the same as in `form`, leaves it below 16; to any other it does not.
  constexpr std::string_view form = "0000-00-00T00:00:00.000Z",
                             slack = "\6\6\6\6\17\6\6\17\6\6\17\6\6\17\6\6\17\6\6\17\6\6\6\17";
  if (text.size() != form.size()) return std::nullopt;
  unsigned char values[form.size()] = {};
  std::uint64_t wrong = 0;
  const auto eight = [](const void* from) {
    std::uint64_t word = 0;
    std::memcpy(&word, from, sizeof word);
    return word;
  };
  for (std::size_t at = 0; at < form.size(); at += 8) {
    const std::uint64_t word = eight(text.data() + at) ^ eight(form.data() + at);
    wrong |= word | (word + eight(slack.data() + at));
    std::memcpy(values + at, &word, sizeof word);
  }
  if ((wrong & 0xF0F0F0F0F0F0F0F0) != 0) return std::nullopt;
  const auto two = [&](int place) { return values[place] * 10U + values[place + 1]; };
  const unsigned y = two(0) * 100 + two(2), mo = two(5), d = two(8), h = two(11), mi = two(14), s = two(17);
  const unsigned millis = values[20] * 100U + two(21);
  if (h > 23 || mi > 59 || s > 59) return std::nullopt;
  const year_month_day date{year{static_cast<int>(y)}, month{mo}, day{d}};
  if (!date.ok()) return std::nullopt;
  return sys_days{date} + Millis{((h * 60 + mi) * 60 + s) * 1000 + millis};
}

}  // namespace

std::optional<Wall> parse_time(std::string_view text) noexcept {
  if (const auto own = parse_own_time(text)) return own;
  const int y = take_digits(text, 4);
  if (y < 0 || !take(text, '-')) return std::nullopt;
  const int mo = take_digits(text, 2);
  if (mo < 0 || !take(text, '-')) return std::nullopt;
  const int d = take_digits(text, 2);
  if (d < 0 || (!take(text, 'T') && !take(text, 't'))) return std::nullopt;
  const int h = take_digits(text, 2);
  if (h < 0 || h > 23 || !take(text, ':')) return std::nullopt;
  const int mi = take_digits(text, 2);
  if (mi < 0 || mi > 59 || !take(text, ':')) return std::nullopt;
  const int s = take_digits(text, 2);
  if (s < 0 || s > 60) return std::nullopt;
  const auto fraction = take_fraction(text);
  if (!fraction) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset) return std::nullopt;
  const year_month_day date{year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
  if (!date.ok()) return std::nullopt;
  // A leap second is the last instant of its minute: wall clocks here do not count it.
  const Millis in_minute = s == 60 ? Millis{59'999} : Millis{s * 1000 + *fraction};
  return sys_days{date} + hours{h} + minutes{mi} + in_minute - *offset;
}

std::optional<Millis> parse_duration(std::string_view text) noexcept {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number < 0) return std::nullopt;
  const std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const Unit& unit : units) {
    if (unit.suffix != suffix) continue;
    if (number > longest_duration / unit.millis) return std::nullopt;
    return Millis{number * unit.millis};
  }
  return std::nullopt;
}

std::string format_duration(Millis duration) {
  const std::int64_t millis = duration.count();
  if (millis == 0) return "0s";
  for (const Unit& unit : units) {
    if (millis % unit.millis == 0) return std::to_string(millis / unit.millis) + std::string(unit.suffix);
  }
  return std::to_string(millis) + "ms";
}

}  // namespace tidings

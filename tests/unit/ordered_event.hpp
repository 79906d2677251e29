// An event with members of every kind, for tests that mistreat its text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <tidings/event.hpp>

namespace ordered {
struct Line {
  std::string sku;
  int count = 0;
};
TIDINGS_STRUCT(Line, sku, count)
struct Ordered {
  std::string user;
  std::vector<Line> lines;
  std::optional<double> total;
  std::map<std::string, std::variant<bool, std::string, tidings::Json>> notes;
};
TIDINGS_EVENT(Ordered, "order.placed", "1.0", user, lines, total, notes)
}  // namespace ordered

// The live table of services: in place on a terminal, a picture of it now and then elsewhere.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "account.hpp"

namespace market {

class Table {
 public:
  /// Draws one line a service, unless it did so a moment ago and this is not the `last` one.
  void show(const std::vector<Row>& rows, bool last);
  /// Says something above the table's next drawing.
  void say(const std::string& text);

 private:
  const bool terminal_ = is_terminal();
  static bool is_terminal();
  std::size_t drawn_ = 0;
  std::chrono::steady_clock::time_point shown_{};
};

}  // namespace market

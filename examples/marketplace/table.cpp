#include "table.hpp"

#include <unistd.h>

#include <cstdlib>
#include <iomanip>
#include <iostream>

using namespace std::chrono_literals;

namespace market {

bool Table::is_terminal() { return isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr; }

void Table::show(const std::vector<Row>& rows, bool last) {
  const auto now = std::chrono::steady_clock::now();
  if (!last && now - shown_ < (terminal_ ? 100ms : 2500ms)) return;
  shown_ = now;
  const auto line = [&](const std::string& name, const auto&... cells) {
    std::cout << (terminal_ ? "\033[K" : "") << "  " << std::left << std::setw(14) << name << std::right;
    ((std::cout << std::setw(9) << cells), ...);
    std::cout << '\n';
  };
  if (drawn_ > 0) std::cout << "\033[" << drawn_ << 'A';
  line("service", "out", "in", "done", "retrying", "dead", "lag");
  for (const Part& part : parts()) {
    Row sum;
    std::uint64_t out = 0;
    for (const Row& row : rows) {
      if (row.service == part.name) sum += row;
      if (row.stream == part.fills) out = row.in;
    }
    line(part.name, out, sum.in, sum.handled + sum.ignored, sum.retrying, sum.dead, sum.lag + sum.pending);
  }
  std::cout << std::flush;
  drawn_ = terminal_ ? parts().size() + 1 : 0;
}

void Table::say(const std::string& text) {
  std::cout << (terminal_ ? "\033[K" : "") << "  ** " << text << '\n' << std::flush;
  drawn_ = 0;
}

}  // namespace market

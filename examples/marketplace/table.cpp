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
  std::vector<Row> services;
  for (const Row& row : rows) {
    if (services.empty() || services.back().service != row.service) services.push_back({.service = row.service});
    services.back() += row;
  }
  const auto line = [&](const std::string& name, const auto&... cells) {
    std::cout << (terminal_ ? "\033[K" : "") << "  " << std::left << std::setw(14) << name << std::right;
    ((std::cout << std::setw(10) << cells), ...);
    std::cout << '\n';
  };
  if (drawn_ > 0) std::cout << "\033[" << drawn_ << 'A';
  line("service", "in", "done", "retrying", "dead", "lag");
  for (const Row& row : services) {
    line(row.service, row.in, row.handled + row.ignored, row.retrying, row.dead, row.lag + row.pending);
  }
  std::cout << std::flush;
  drawn_ = terminal_ ? services.size() + 1 : 0;
}

void Table::say(const std::string& text) {
  std::cout << (terminal_ ? "\033[K" : "") << "  ** " << text << '\n' << std::flush;
  drawn_ = 0;
}

}  // namespace market

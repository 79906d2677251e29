#include "cast.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace market {

const std::vector<Part>& parts() {
  static const std::vector<Part> all = {
      {"user", {}, "events:user"},
      {"project", {}, "events:project"},
      {"booking", {"events:payment"}, "events:booking"},
      {"payment", {"events:booking"}, "events:payment"},
      {"notification",
       {"events:user", "events:project", "events:booking", "events:payment", "commands:send.email"},
       "commands:send.email"},
      {"search", {"events:user", "events:project", "commands:index.project"}, "commands:index.project"},
      {"analytics", {"events:project"}}};
  return all;
}

Cast::Cast(std::filesystem::path binaries, std::filesystem::path directory)
    : binaries_(std::move(binaries)), directory_(std::move(directory)) {
  const char* elsewhere = std::getenv("SMTP_URL");
  if (elsewhere == nullptr || *elsewhere == '\0') {
    start("sink");
    await("sink");
    setenv("SMTP_URL", ("smtp://127.0.0.1:" + std::to_string(port("sink"))).c_str(), 1);
  }
  for (const Part& part : parts()) start(part.name);
  for (const char* name : {"user", "project", "booking", "search", "analytics"}) await(name);
}

Child& Cast::start(const std::string& name) {
  std::filesystem::remove(port_file(name));
  return children_
      .emplace_back(std::piecewise_construct, std::forward_as_tuple(name),
                    std::forward_as_tuple(std::vector<std::string>{binaries_ / ("marketplace_" + name), directory_},
                                          directory_ / (name + ".log")))
      .second;
}

std::uint16_t Cast::port(const std::string& name) const {
  std::uint16_t port = 0;
  std::ifstream(port_file(name)) >> port;
  return port;
}

void Cast::await(const std::string& name) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (port(name) == 0) {
    check();
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error(name + " does not come up; see its log");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

namespace {

Child& first(std::list<std::pair<std::string, Child>>& children, const std::string& name) {
  return std::find_if(children.begin(), children.end(), [&](const auto& each) { return each.first == name; })->second;
}

}  // namespace

bool Cast::crash(const std::string& name) {
  Child& child = first(children_, name);
  if (!child.expected()) return false;
  child.kill();
  raise(name);
  return true;
}

int Cast::lower(const std::string& name) { return first(children_, name).stop(); }

void Cast::raise(const std::string& name) {
  std::filesystem::remove(port_file(name));
  first(children_, name).start();
}

void Cast::add(const std::string& name) {
  children_.emplace_back(
      std::piecewise_construct, std::forward_as_tuple(name),
      std::forward_as_tuple(std::vector<std::string>{binaries_ / ("marketplace_" + name), directory_},
                            directory_ / (name + "-2.log")));
}

void Cast::check() {
  for (auto& [name, child] : children_) {
    if (child.expected() && !child.running()) {
      throw std::runtime_error(name + " ended by itself; " + (directory_ / (name + ".log")).string() + " says why");
    }
  }
}

int Cast::stop() {
  int code = 0;
  for (auto it = children_.rbegin(); it != children_.rend(); ++it) {
    if (it->first != "sink") code |= it->second.stop();
  }
  for (auto& [name, child] : children_) code |= child.stop();
  return code;
}

}  // namespace market

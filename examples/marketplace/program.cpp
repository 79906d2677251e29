#include "program.hpp"

#include <signal.h>

#include <fstream>
#include <iostream>

namespace market {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

int run_program(const char* name, int argc, char** argv, const std::function<int(const Place&)>& body) try {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " DIRECTORY\n";
    return 2;
  }
  return body(Place{.name = name, .directory = argv[1]});
} catch (const std::exception& error) {
  std::cerr << name << ": " << error.what() << '\n';
  return 1;
}

void tell_port(const Place& place, std::uint16_t port) {
  const std::filesystem::path written = place.file(".port.new");
  std::ofstream(written) << port << '\n';
  std::filesystem::rename(written, place.file(".port"));
}

tidings::Bus open_bus(const std::string& source) {
  return tidings::Bus::open({}, {.source = source, .connect = std::chrono::hours(24)});
}

int run_service(tidings::Service& service) {
  const int code = service.run();
  std::cerr << "handled " << service.stats().handled << '\n';
  return code;
}

HttpServer serve(const Place& place, HttpServer::Handler handler) {
  HttpServer server(0, std::move(handler));
  tell_port(place, server.port());
  return server;
}

void block_stop_signals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int wait_for_stop() {
  const sigset_t set = stop_signals();
  int signal = 0;
  sigwait(&set, &signal);
  return signal == SIGINT ? 130 : 0;
}

}  // namespace market

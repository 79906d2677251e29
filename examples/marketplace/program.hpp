// How every service of the marketplace starts, tells its port, and ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include <tidings/tidings.hpp>

#include "http.hpp"

namespace market {

/// Of the command line: `PROGRAM DIRECTORY`. The directory holds the service's store and `NAME.port`.
struct Place {
  std::string name;
  std::filesystem::path directory;
  [[nodiscard]] std::filesystem::path file(const char* suffix) const { return directory / (name + suffix); }
};

/// The main of a service: runs `body` and says in a sentence what ended it. SIGTERM and SIGINT are left to
/// wait_for_stop() or to tidings::Service::run().
int run_program(const char* name, int argc, char** argv, const std::function<int(const Place&)>& body);

/// Writes `port` to `NAME.port`, whole or not at all.
void tell_port(const Place& place, std::uint16_t port);

/// The bus of `source` on $TIDINGS_URL; waits for an engine that is down.
[[nodiscard]] tidings::Bus open_bus(const std::string& source);

/// Runs `service` until it is stopped, and says on stderr how much it handled.
int run_service(tidings::Service& service);

/// Serves on a free port of 127.0.0.1, and writes which one to `NAME.port` once it does.
[[nodiscard]] HttpServer serve(const Place& place, HttpServer::Handler handler);

/// For a service without handlers: returns 0 after SIGTERM, 130 after SIGINT. Call block_stop_signals() before any
/// thread starts.
void block_stop_signals();
int wait_for_stop();

}  // namespace market

#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <tidings/error.hpp>

#include "arguments.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace {

using namespace tidings::cli;

int exit_code(tidings::ErrorCode code) {
  switch (code) {
    case tidings::ErrorCode::unauthorized:
      return exit_unauthorized;
    case tidings::ErrorCode::unavailable:
    case tidings::ErrorCode::timeout:
      return exit_unreachable;
    default:
      return exit_failed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  // SQLite frees the pages of its cache whenever another process has written. Given back to the kernel and asked for
  // again, they would cost each single event several system calls and page faults.
  constexpr int kept = 16 << 20;
  (void)mallopt(M_TRIM_THRESHOLD, kept);
  (void)mallopt(M_MMAP_THRESHOLD, kept);
  // A closed pipe is an error of the write that meets it, so that what was not written is not settled.
  std::signal(SIGPIPE, SIG_IGN);
  // Commands that have something to finish or to give back take this signal themselves.
  std::signal(SIGINT, [](int) { ::_exit(exit_interrupted); });
  try {
    const int code = run_program(argc, argv);
    standard_output().flush();
    return code;
  } catch (const OutputClosed&) {
    return exit_ok;
  } catch (const UsageError& error) {
    complain(error.what());
    return exit_usage;
  } catch (const tidings::Error& error) {
    complain(error.what());
    return exit_code(error.code());
  } catch (const std::exception& error) {
    complain(error.what());
    return exit_failed;
  }
}

// The arguments: reads the command line, and runs the command that it names.
#pragma once

namespace tidings::cli {

/// Parses and runs. Returns the exit code; usage errors are reported here, what a command throws is not caught.
int run_program(int argc, char** argv);

}  // namespace tidings::cli

// tidings version.
#include <tidings/bus.hpp>

#include "commands.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace tidings::cli {

int run_version(const Common& common) {
  std::vector<std::string> schemes;
  for (const std::string_view scheme : transport_schemes()) schemes.emplace_back(scheme);
  const auto libraries = library_versions();
  if (common.format_or(Format::table) != Format::table) {
    JsonObject versions;
    for (const auto& [name, version] : libraries) versions.text(name, version);
    standard_output().write(JsonObject()
                                .text("version", TIDINGS_VERSION)
                                .texts("transports", schemes)
                                .raw("libraries", versions.str())
                                .str() +
                            "\n");
    return exit_ok;
  }
  std::string text = "tidings " TIDINGS_VERSION "\ntransports:";
  for (const std::string& scheme : schemes) text += " " + scheme;
  text += "\nlibraries:";
  for (const auto& [name, version] : libraries) text += " " + name + " " + version;
  standard_output().write(text + "\n");
  return exit_ok;
}

}  // namespace tidings::cli

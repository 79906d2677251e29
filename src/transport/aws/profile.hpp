// The files that the command line of AWS keeps: ~/.aws/config and ~/.aws/credentials. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace tidings::transport::aws {

/// The settings of one section. Names are in lower case.
using Settings = std::map<std::string, std::string, std::less<>>;

/// Both files together.
struct Profiles {
  std::map<std::string, Settings, std::less<>> profiles{}, sessions{};

  /// The section's setting, or nothing; an empty one is none.
  [[nodiscard]] std::optional<std::string> setting(std::string_view profile, std::string_view name) const;
  [[nodiscard]] bool has(std::string_view profile) const { return profiles.contains(profile); }
};

/// Reads the text of both. In `config` a profile's section is called `profile NAME` (or `default`), in `credentials`
/// just `NAME`, and what stands there wins. A name in quotes, sections that come again, comments on lines of their own
/// and behind space, indented settings within a setting, lines that end in CR LF: all as the command line reads them.
/// What is none of this is skipped.
[[nodiscard]] Profiles read_profiles(std::string_view config, std::string_view credentials);

}  // namespace tidings::transport::aws

#include "transport/aws/profile.hpp"

#include <algorithm>

namespace tidings::transport::aws {
namespace {

bool is_space(char c) noexcept { return c == ' ' || c == '\t'; }

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && (is_space(text.back()) || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

/// Without a comment, which begins with `#` or `;` behind space: a secret may hold either within.
std::string_view uncommented(std::string_view value) noexcept {
  for (std::size_t i = 1; i < value.size(); ++i) {
    if ((value[i] == '#' || value[i] == ';') && is_space(value[i - 1])) return trimmed(value.substr(0, i));
  }
  return value;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

std::string_view unquoted(std::string_view name) noexcept {
  if (name.size() >= 2 && (name.front() == '"' || name.front() == '\'') && name.back() == name.front()) {
    name = name.substr(1, name.size() - 2);
  }
  return name;
}

/// Reads one of the files, section by section.
class Reader {
 public:
  Reader(Profiles& out, bool config) noexcept : out_(out), config_(config) {}

  void line(std::string_view text) {
    const std::string_view content = trimmed(text);
    if (content.empty() || content.front() == '#' || content.front() == ';') return;
    if (is_space(text.front())) return nested(content);
    if (content.front() == '[') return section(content);
    setting(content);
  }

 private:
  void section(std::string_view content) {
    into_ = nullptr;
    last_ = nullptr;
    const std::size_t end = content.find(']');
    if (end == std::string_view::npos) return;
    const std::string_view name = trimmed(content.substr(1, end - 1));
    if (!config_) {
      into_ = &out_.profiles[std::string(unquoted(name))];
      return;
    }
    const std::size_t gap = name.find_first_of(" \t");
    const std::string_view kind = name.substr(0, gap);
    if (gap == std::string_view::npos) {
      // `[profile default]` is the one that counts where both are there.
      if (name == "default" && !named_default_) into_ = &out_.profiles["default"];
      return;
    }
    const std::string rest(unquoted(trimmed(name.substr(gap))));
    if (kind == "sso-session") into_ = &out_.sessions[rest];
    if (kind != "profile") return;
    if (rest == "default" && !named_default_) {
      named_default_ = true;
      out_.profiles.erase("default");
    }
    into_ = &out_.profiles[rest];
  }
  void setting(std::string_view content) {
    last_ = nullptr;
    const std::size_t equals = content.find('=');
    if (into_ == nullptr || equals == std::string_view::npos || equals == 0) return;
    last_ = &(*into_)[lower(trimmed(content.substr(0, equals)))];
    *last_ = uncommented(trimmed(content.substr(equals + 1)));
    // A comment may be all there is.
    if (!last_->empty() && (last_->front() == '#' || last_->front() == ';')) {
      if (is_space(content[equals + 1])) last_->clear();
    }
  }
  void nested(std::string_view content) {
    if (last_ != nullptr) last_->append("\n").append(content);
  }

  Profiles& out_;
  const bool config_;
  bool named_default_ = false;
  Settings* into_ = nullptr;     // The section's.
  std::string* last_ = nullptr;  // The setting that indented lines belong to.
};

void read_file(Profiles& out, std::string_view text, bool config) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  Reader reader(out, config);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    reader.line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

std::optional<std::string> Profiles::setting(std::string_view profile, std::string_view name) const {
  const auto section = profiles.find(profile);
  if (section == profiles.end()) return std::nullopt;
  const auto found = section->second.find(name);
  if (found == section->second.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

Profiles read_profiles(std::string_view config, std::string_view credentials) {
  Profiles out;
  read_file(out, config, true);
  read_file(out, credentials, false);
  return out;
}

}  // namespace tidings::transport::aws

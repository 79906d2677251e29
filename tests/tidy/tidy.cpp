// The house rules that a compiler does not know: which room may include which, sizes, names, documented public items.
//
//   tidy ROOT EDGES              prints each offender as `path:line: rule: text`; exit 1 when there is one
//   tidy --expect LIST ROOT EDGES  the offenders must be exactly those of LIST (`path:line: rule`), a test of this
//   program
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "scan.hpp"

namespace fs = std::filesystem;

namespace tidy {
namespace {

struct Offender {
  std::string path{};
  std::size_t line = 0;
  std::string rule{}, text{};
};

/// edges.txt, read.
struct Rules {
  std::map<std::string, std::string> rooms{};              ///< Path prefix to room.
  std::map<std::string, std::set<std::string>> allowed{};  ///< Room to rooms.
  std::map<std::string, std::vector<std::string>> only{};  ///< Foreign header's prefix to paths.
  std::map<std::string, std::size_t> limits{};
  std::set<std::string> paced{};  ///< Files of tests that may sleep.
};

bool below(const std::string& path, const std::string& prefix) {
  return path == prefix || (path.starts_with(prefix) && path[prefix.size()] == '/');
}

Rules read_rules(const fs::path& file) {
  Rules rules;
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string verb, name, word;
    if (!(words >> verb >> name)) continue;
    if (name.back() == ':') name.pop_back();
    if (verb == "limit") words >> rules.limits[name];
    if (verb == "allow") rules.allowed[name];
    if (verb == "paced") rules.paced.insert(name);
    while (words >> word) {
      if (verb == "room") rules.rooms[word] = name;
      if (verb == "allow") rules.allowed[name].insert(word);
      if (verb == "only") rules.only[name].push_back(word);
    }
  }
  return rules;
}

std::string room_of(const Rules& rules, const std::string& path) {
  std::string best, room;
  for (const auto& [prefix, name] : rules.rooms) {
    if (below(path, prefix) && prefix.size() >= best.size()) best = prefix, room = name;
  }
  return room;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Checks one file, collecting offenders.
class Check {
 public:
  Check(const fs::path& root, const Rules& rules, std::string path, std::vector<Offender>& out)
      : root_(root), rules_(rules), path_(std::move(path)), out_(out) {}

  void run() {
    const std::string text = read_file(root_ / path_);
    source_ = scan(text);
    words();
    const bool cpp = path_.ends_with(".cpp") || path_.ends_with(".hpp");
    if (!cpp) return;
    sizes();
    names();
    includes();
    if (path_.starts_with("tests/") && !rules_.paced.contains(path_)) sleeps();
    if (path_.starts_with("include/tidings/") && !below(path_, "include/tidings/detail")) documented();
  }

 private:
  void offend(std::size_t line, std::string rule, std::string text) {
    out_.push_back({path_, line, std::move(rule), std::move(text)});
  }

  [[nodiscard]] std::size_t limit(const std::string& name) const {
    const auto found = rules_.limits.find(name);
    return found == rules_.limits.end() ? std::size_t(-1) : found->second;
  }

  void words() {
    static const std::regex place(R"((^|[\s"'`(=:])/(home|root|work|Users)/\w)");
    static const std::regex later(R"(\b(TO)(DO)\b|\b(FIX)(ME)\b)");
    for (std::size_t i = 0; i < source_.lines.size(); ++i) {
      const std::string& text = source_.lines[i].text;
      if (std::regex_search(text, place)) offend(i + 1, "machine-path", text);
      if (std::regex_search(text, later)) offend(i + 1, "later", text);
    }
    static const std::regex name(R"((^|[/_.])(\w*manager\w*|\w*helper\w*|utils?)([/_.]|$))", std::regex::icase);
    if (std::regex_search(path_, name)) offend(1, "name", path_);
  }

  void sizes() {
    const std::size_t lines = source_.lines.size();
    const bool header = path_.starts_with("include/");
    const std::size_t most = limit(header ? "header" : "source");
    if (lines > most) offend(most + 1, header ? "long-header" : "long-source", std::to_string(lines) + " lines");
    for (const Function& function : source_.functions) {
      const std::size_t length = function.last - function.first + 1;
      if (length > limit("function"))
        offend(function.first, "long-function", std::to_string(length) + " lines: " + function.name);
    }
  }

  void names() {
    static const std::regex name(
        R"(\b(\w*[Mm]anager\w*|\w*[Hh]elper\w*|\w*_utils?|utils?(_\w*)?|\w*_utils?_\w*|\w*Utils?([A-Z]\w*)?)\b)");
    for (std::size_t i = 0; i < source_.lines.size(); ++i) {
      const Line& line = source_.lines[i];
      std::smatch match;
      if (line.code.find("#include") != std::string::npos) continue;
      if (std::regex_search(line.code, match, name)) offend(i + 1, "name", match[1].str());
    }
  }

  /// The file of this tree that an include names, or nothing for a foreign one.
  [[nodiscard]] std::string target_of(const std::string& name, bool quoted) const {
    if (quoted) {
      const fs::path beside = fs::path(path_).parent_path() / name;
      for (const fs::path& candidate : {beside, fs::path("src") / name, fs::path("tests") / name}) {
        if (fs::exists(root_ / candidate)) return candidate.lexically_normal().generic_string();
      }
      return {};
    }
    return name.starts_with("tidings/") ? "include/" + name : std::string();
  }

  void includes() {
    static const std::regex include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
    const std::string room = room_of(rules_, path_);
    const auto allowed = rules_.allowed.find(room);
    for (std::size_t i = 0; i < source_.lines.size(); ++i) {
      std::smatch match;
      if (!source_.lines[i].directive || !std::regex_search(source_.lines[i].text, match, include)) continue;
      const std::string name = match[2].str();
      const std::string target = target_of(name, match[1].str() == "\"");
      if (target.empty()) {
        foreign(i + 1, name);
        continue;
      }
      const std::string other = room_of(rules_, target);
      if (other == room) continue;
      if (allowed == rules_.allowed.end() || !allowed->second.contains(other))
        offend(i + 1, "edge", room + " may not include " + other + " (" + name + ")");
    }
  }

  void foreign(std::size_t line, const std::string& name) {
    for (const auto& [header, places] : rules_.only) {
      if (!name.starts_with(header)) continue;
      const bool allowed =
          std::any_of(places.begin(), places.end(), [&](const std::string& place) { return below(path_, place); });
      if (!allowed) offend(line, "foreign", name + " is kept behind one file of ours");
    }
  }

  void sleeps() {
    static const std::regex waiting(R"(\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\()");
    for (std::size_t i = 0; i < source_.lines.size(); ++i) {
      if (std::regex_search(source_.lines[i].code, waiting)) offend(i + 1, "sleep", source_.lines[i].text);
    }
  }

  /// Declarations that say all there is to say by themselves.
  static bool speaks_for_itself(const Declaration& declaration) {
    static const std::regex plain(
        R"(^(friend|using|namespace|extern|static_assert|template class)\b|= (delete|default)$|~\w+\(|\boperator\b|\boverride$|\boverride \{|^(class|struct|enum class|enum)\s+\w+$)");
    if (std::regex_search(declaration.text, plain)) return true;
    return !declaration.type.empty() && declaration.text.starts_with(declaration.type + "()");
  }

  void documented() {
    std::set<std::size_t> covered;
    for (const Declaration& declaration : source_.declarations) {
      if (declaration.container) continue;
      bool comment = false;
      for (std::size_t line = declaration.first; line <= declaration.head && line <= source_.lines.size(); ++line) {
        comment =
            comment || (source_.lines[line - 1].comment && (line == declaration.first || line == declaration.head));
      }
      if (declaration.first > 1) {
        const Line& above = source_.lines[declaration.first - 2];
        comment = comment || (above.comment && above.code.find_first_not_of(' ') == std::string::npos);
        comment = comment || covered.contains(declaration.first - 1) || covered.contains(declaration.first);
      }
      if (comment) {
        for (std::size_t line = declaration.first; line <= declaration.head; ++line) covered.insert(line);
      } else if (!declaration.hidden && !speaks_for_itself(declaration)) {
        offend(declaration.first, "undocumented", declaration.text.substr(0, 80));
      }
    }
    macros();
  }

  void macros() {
    static const std::regex define(R"(^#define\s+(\w+))");
    for (std::size_t i = 0; i < source_.lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(source_.lines[i].text, match, define) ||
          match[1].str().find("DETAIL") != std::string::npos)
        continue;
      if (i == 0 || !source_.lines[i - 1].comment) offend(i + 1, "undocumented", match[1].str());
    }
  }

  const fs::path& root_;
  const Rules& rules_;
  std::string path_;
  std::vector<Offender>& out_;
  Source source_{};
};

std::vector<Offender> check_tree(const fs::path& root, const Rules& rules) {
  static const std::set<std::string> kinds{".cpp", ".hpp", ".md", ".cmake", ".txt", ".sh", ".json", ""};
  std::vector<std::string> paths;
  for (const char* room :
       {".ci", "include", "src", "tools", "examples", "tests", "bench", "fuzz", "cmake", "scripts", "docs"}) {
    if (!fs::exists(root / room)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      const std::string path = entry.path().lexically_relative(root).generic_string();
      if (path.find("tests/tidy/fixtures") != std::string::npos) continue;
      if (entry.is_regular_file() && kinds.contains(entry.path().extension().string())) paths.push_back(path);
    }
  }
  for (const char* file :
       {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "CMakeLists.txt", "CMakePresets.json"}) {
    if (fs::exists(root / file)) paths.emplace_back(file);
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Offender> out;
  for (const std::string& path : paths) Check(root, rules, path, out).run();
  return out;
}

int compare(const std::vector<Offender>& found, const fs::path& list) {
  std::multiset<std::string> left, expected;
  for (const Offender& offender : found)
    left.insert(offender.path + ":" + std::to_string(offender.line) + ": " + offender.rule);
  std::ifstream in(list);
  int wrong = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto hit = left.find(line);
    if (hit == left.end()) {
      std::cout << "not caught: " << line << '\n', ++wrong;
    } else {
      left.erase(hit);
    }
    expected.insert(line);
  }
  for (const std::string& line : left) std::cout << "caught without cause: " << line << '\n', ++wrong;
  if (expected.empty()) std::cout << list.string() << " expects nothing\n", ++wrong;
  return wrong == 0 ? 0 : 1;
}

int run(std::vector<std::string> arguments) {
  fs::path list;
  if (arguments.size() == 4 && arguments[0] == "--expect") {
    list = arguments[1];
    arguments.erase(arguments.begin(), arguments.begin() + 2);
  }
  if (arguments.size() != 2) {
    std::cerr << "usage: tidy [--expect LIST] ROOT EDGES\n";
    return 2;
  }
  const std::vector<Offender> found = check_tree(arguments[0], read_rules(arguments[1]));
  if (!list.empty()) return compare(found, list);
  for (const Offender& offender : found) {
    std::cout << offender.path << ':' << offender.line << ": " << offender.rule << ": " << offender.text << '\n';
  }
  return found.empty() ? 0 : 1;
}

}  // namespace
}  // namespace tidy

int main(int argc, char** argv) {
  try {
    return tidy::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "tidy: " << error.what() << '\n';
    return 2;
  }
}

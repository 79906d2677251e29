#include "scan.hpp"

#include <cctype>
#include <regex>

namespace tidy {
namespace {

bool starts_with_word(std::string_view text, std::string_view word) {
  return text.starts_with(word) &&
         (text.size() == word.size() ||
          (std::isalnum(static_cast<unsigned char>(text[word.size()])) == 0 && text[word.size()] != '_'));
}

/// Tells code from comments and literals, one character at a time.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Line> run() {
    while (at_ < text_.size()) step();
    if (!line_.text.empty()) end_line();
    return std::move(lines_);
  }

 private:
  void end_line() {
    const std::size_t word = line_.code.find_first_not_of(" \t");
    line_.directive = continued_ || (word != std::string::npos && line_.code[word] == '#');
    continued_ = line_.directive && line_.code.ends_with('\\');
    lines_.push_back(std::move(line_));
    line_ = {};
  }

  /// Moves on by one character, which counts as code or is blanked.
  void take(bool code) {
    const char c = text_[at_++];
    if (c == '\n') {
      end_line();
      return;
    }
    line_.text += c;
    line_.code += code ? c : ' ';
  }

  void take_until(std::string_view end, bool comment) {
    while (at_ < text_.size() && !text_.substr(at_).starts_with(end)) {
      line_.comment = line_.comment || comment;
      take(false);
    }
    for (std::size_t i = 0; i < end.size() && at_ < text_.size(); ++i) take(false);
  }

  void take_quoted(char quote) {
    take(true);
    while (at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) take(false);
      take(false);
    }
    if (at_ < text_.size()) take(text_[at_] == quote);
  }

  void step() {
    const std::string_view rest = text_.substr(at_);
    const bool after_word =
        at_ > 0 && (std::isalnum(static_cast<unsigned char>(text_[at_ - 1])) != 0 || text_[at_ - 1] == '_');
    if (rest.starts_with("//")) {
      line_.comment = true;
      while (at_ < text_.size() && text_[at_] != '\n') take(false);
    } else if (rest.starts_with("/*")) {
      line_.comment = true;
      take_until("*/", true);
    } else if (rest.starts_with("R\"") && !after_word) {
      const std::size_t open = rest.find('(');
      const std::string end = ")" + std::string(rest.substr(2, open - 2)) + "\"";
      take_until(end, false);
    } else if (rest[0] == '"' || (rest[0] == '\'' && !after_word)) {
      take_quoted(rest[0]);
    } else {
      take(true);
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Line line_{};
  std::vector<Line> lines_{};
  bool continued_ = false;
};

enum class Brace { name_space, type, function, value };

/// The words that open a declaration, without its template parameters and attributes.
std::string_view head_of(std::string_view text) {
  for (;;) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    std::size_t depth = 0, at = 0;
    if (starts_with_word(text, "template")) {
      for (at = text.find('<'); at != std::string_view::npos && at < text.size(); ++at) {
        if (text[at] == '<') ++depth;
        if (text[at] == '>' && --depth == 0) break;
      }
    } else if (text.starts_with("[[")) {
      at = text.find("]]") + 1;
    } else if (starts_with_word(text, "inline") || starts_with_word(text, "typedef") ||
               starts_with_word(text, "static")) {
      at = text.find(' ');
    } else {
      return text;
    }
    if (at >= text.size()) return {};
    text.remove_prefix(at + 1);
  }
}

/// Whether an initialiser stands at the end of `text`: an `=` outside parentheses that is no operator's name.
bool is_value(const std::string& text) {
  static const std::regex operators(R"(operator\s*[^\s\w(]+|[<>!=]=)");
  const std::string plain = std::regex_replace(text, operators, "operator");
  int depth = 0;
  for (char c : plain) {
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (c == '=' && depth == 0) return true;
  }
  return false;
}

Brace kind_of(const std::string& text) {
  const std::string_view head = head_of(text);
  if (starts_with_word(head, "namespace") || starts_with_word(head, "extern")) return Brace::name_space;
  for (std::string_view word : {"class", "struct", "union", "enum"}) {
    if (starts_with_word(head, word)) return Brace::type;
  }
  return is_value(text) || text.find(')') == std::string::npos ? Brace::value : Brace::function;
}

std::string name_after(std::string_view head, const char* pattern) {
  std::cmatch match;
  return std::regex_search(head.begin(), head.end(), match, std::regex(pattern)) ? match[1].str() : std::string();
}

struct Scope {
  Brace brace = Brace::name_space;
  bool hidden = false;
  bool enumeration = false;
  std::string type{};
  std::size_t declaration = 0;  ///< Index + 1 of the declaration that it is the body of.
};

/// Follows the braces of code lines.
class Structure {
 public:
  explicit Structure(Source& source) : source_(source) { scopes_.push_back({}); }

  void run() {
    for (std::size_t i = 0; i < source_.lines.size(); ++i) {
      if (source_.lines[i].directive) continue;
      line_ = i + 1;
      for (char c : source_.lines[i].code) take(c);
      take(' ');
      end_macro();
    }
  }

 private:
  [[nodiscard]] bool outside_functions() const { return inner_ == 0; }

  void take(char c) {
    if (!outside_functions()) {
      if (c == '{') ++inner_;
      if (c == '}' && --inner_ == 0) close_body();
      return;
    }
    if (c == '(') ++parentheses_;
    if (c == ')' && parentheses_ > 0) --parentheses_;
    if (c == '{' && parentheses_ > 0) {
      inner_ = 1;
      body_ = {};
    } else if (c == '{') {
      open();
    } else if (c == '}') {
      close_scope();
    } else if (c == ';' && parentheses_ == 0) {
      end_declaration();
    } else if (c == ':' && (text_ == "public" || text_ == "private" || text_ == "protected")) {
      scopes_.back().hidden = text_ != "public" || (scopes_.size() > 1 && scopes_[scopes_.size() - 2].hidden);
      text_.clear();
    } else {
      append(c);
    }
  }

  /// A macro call on lines of its own needs no semicolon: `TIDINGS_EVENT(…)` ends with its line.
  void end_macro() {
    static const std::regex macro(R"(^[A-Z][A-Z0-9_]*\(.*\) ?$)");
    if (outside_functions() && parentheses_ == 0 && std::regex_match(text_, macro)) text_.clear();
  }

  void append(char c) {
    if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      if (!text_.empty() && text_.back() != ' ') text_ += ' ';
      return;
    }
    if (text_.empty()) first_ = line_;
    if (text_ == "public " || text_ == "private ") text_.pop_back();
    text_ += c;
  }

  void open() {
    const Brace brace = kind_of(text_);
    if (scopes_.back().enumeration || brace == Brace::value || brace == Brace::function) {
      inner_ = 1;
      body_ = {text_, line_, 0};
      is_function_ = brace == Brace::function && !scopes_.back().enumeration;
      return;
    }
    Scope scope{brace, scopes_.back().hidden, false, {}, 0};
    const std::string head(head_of(text_));
    if (brace == Brace::name_space) {
      const std::string name = name_after(head, R"(namespace\s+([\w:]*))");
      scope.hidden = scope.hidden || (name.empty() && head.starts_with("namespace")) || name.ends_with("detail");
      remember(line_, true);
    } else {
      scope.type = name_after(head, R"((?:class|struct|union)\s+(?:\[\[.*\]\]\s*|alignas\([^)]*\)\s*)?(\w+))");
      scope.enumeration = starts_with_word(head, "enum");
      scope.declaration = remember(line_, false);
      if (starts_with_word(head, "class")) scope.hidden = true;
    }
    scopes_.push_back(std::move(scope));
    text_.clear();
  }

  std::size_t remember(std::size_t last, bool container) {
    source_.declarations.push_back({text_, first_, last, last, scopes_.back().hidden, container, scopes_.back().type});
    return source_.declarations.size();
  }

  void close_body() {
    if (is_function_) source_.functions.push_back({body_.name, body_.first, line_});
    if (!is_function_ || parentheses_ > 0) {
      is_function_ = false;
      text_ += "{}";
      return;
    }
    is_function_ = false;
    // A constructor's `: a_{x}, b_{y} {` opens several braces before its body; the text goes on as long as one follows.
    text_ += "{}";
    finish_if_body();
  }

  /// A function's text ends with its body unless an initialiser list goes on.
  void finish_if_body() {
    static const std::regex initialiser(R"([:,]\s*[\w:]+(<[^{}]*>)?\{\}$)");
    if (std::regex_search(text_, initialiser)) return;
    end_declaration();
  }

  void end_declaration() {
    if (!text_.empty() && !scopes_.back().enumeration && !after_type_) remember(line_, false);
    text_.clear();
    after_type_ = false;
  }

  void close_scope() {
    if (scopes_.size() == 1) return;
    const Scope scope = scopes_.back();
    scopes_.pop_back();
    if (scope.declaration > 0) source_.declarations[scope.declaration - 1].last = line_;
    after_type_ = scope.brace == Brace::type;  // What follows up to the semicolon are variables of that type.
    text_.clear();
  }

  Source& source_;
  std::vector<Scope> scopes_{};
  std::string text_{};
  Function body_{};
  std::size_t line_ = 0, first_ = 0, inner_ = 0;
  int parentheses_ = 0;
  bool is_function_ = false, after_type_ = false;
};

}  // namespace

Source scan(std::string_view text) {
  Source source;
  source.lines = Lexer(text).run();
  Structure(source).run();
  return source;
}

}  // namespace tidy

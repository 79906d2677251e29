// A reading of C++ source that is exact enough for house rules: comments and literals apart from code, and which braces
// belong to namespaces, types and functions. It expands no macro and resolves no name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tidy {

/// One line of a file, taken apart.
struct Line {
  std::string text{};      ///< As it stands.
  std::string code{};      ///< Without comments, and with the insides of literals blanked.
  bool comment = false;    ///< Holds a comment, or part of one.
  bool directive = false;  ///< Belongs to a preprocessor directive.
};

/// A declaration at namespace or class level.
struct Declaration {
  std::string text{};      ///< Its code up to the body, blanks folded.
  std::size_t first = 0;   ///< Lines, from 1.
  std::size_t head = 0;    ///< The line of a type's opening brace; else as last.
  std::size_t last = 0;    ///< Of the whole, body included.
  bool hidden = false;     ///< Private, protected, or inside a namespace `detail`, an unnamed one or a hidden type.
  bool container = false;  ///< A namespace.
  std::string type{};      ///< The name of the enclosing type, if any.
};

/// A function body.
struct Function {
  std::string name{};
  std::size_t first = 0, last = 0;  ///< Lines of its braces.
};

struct Source {
  std::vector<Line> lines{};
  std::vector<Declaration> declarations{};
  std::vector<Function> functions{};
};

/// Takes `text` apart.
[[nodiscard]] Source scan(std::string_view text);

}  // namespace tidy

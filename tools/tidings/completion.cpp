// tidings completion: scripts that complete commands and options, made from the tree that parses them.
#include <map>

#include "commands.hpp"
#include "failure.hpp"
#include "output.hpp"

namespace tidings::cli {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// A description as a shell's single-quoted word takes it.
std::string quoted(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return "'" + out + "'";
}

std::vector<std::string> words_after(const CommandOutline& command) {
  std::vector<std::string> words = command.words;
  for (const CommandOutline& child : command.commands) words.push_back(child.name);
  for (const auto& option : command.options) words.insert(words.end(), option.names.begin(), option.names.end());
  return words;
}

/// One case of the shell function for `path` (the words of the command, joined) and for all below it.
void bash_cases(const CommandOutline& command, const std::string& path, std::string& out) {
  out += "    " + quoted(path) + ") words=" + quoted(joined(words_after(command))) + " ;;\n";
  for (const CommandOutline& child : command.commands) {
    bash_cases(child, path.empty() ? child.name : path + " " + child.name, out);
  }
}

/// The options that take a value, each with the values that it takes; with none when it takes any.
std::map<std::string, std::string> value_options(const CommandOutline& command) {
  std::map<std::string, std::string> values;
  for (const auto& option : command.options) {
    if (!option.takes_value) continue;
    for (const std::string& name : option.names) values[name] = joined(option.values);
  }
  for (const CommandOutline& child : command.commands) values.merge(value_options(child));
  return values;
}

std::string all_paths(const CommandOutline& command, const std::string& path) {
  std::string names;
  for (const CommandOutline& child : command.commands) {
    const std::string here = path.empty() ? child.name : path + " " + child.name;
    names += (names.empty() ? "" : "|") + quoted(here);
    const std::string below = all_paths(child, here);
    if (!below.empty()) names += "|" + below;
  }
  return names;
}

std::string bash_script(const CommandOutline& program) {
  std::string value_names, value_cases;
  for (const auto& [name, values] : value_options(program)) {
    value_names += (value_names.empty() ? "" : "|") + name;
    if (!values.empty())
      value_cases += "    " + name + ") COMPREPLY=($(compgen -W '" + values + "' -- \"$current\")); return ;;\n";
  }
  std::string out =
      "# bash completion for tidings. Load it with: source <(tidings completion bash)\n"
      "_tidings() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} path='' word words='' skip='' i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=${COMP_WORDS[i]}\n"
      "    if [[ -n $skip ]]; then skip=''; continue; fi\n"
      "    case $word in\n      " +
      value_names +
      ") skip=$word; continue ;;\n"
      "      -*) continue ;;\n"
      "    esac\n"
      "    case \"${path:+$path }$word\" in\n      " +
      all_paths(program, {}) +
      ") path=\"${path:+$path }$word\" ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$skip\" in\n" +
      value_cases +
      "    ?*) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
      "  esac\n"
      "  case \"$path\" in\n";
  bash_cases(program, {}, out);
  return out +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "}\n"
         "complete -F _tidings tidings\n";
}

std::string zsh_script(const CommandOutline& program) {
  return "#compdef tidings\n# zsh completion for tidings. Load it with: source <(tidings completion zsh)\n"
         "autoload -U +X bashcompinit && bashcompinit\n" +
         bash_script(program) +
         "# Out of a folder for completions zsh reads this at the first use, which must be answered as well.\n"
         "if [[ ${funcstack[1]} == _tidings ]]; then _bash_complete -F _tidings; fi\n";
}

void fish_lines(const CommandOutline& command, const std::string& condition, std::string& out) {
  const std::string start = "complete -c tidings -n " + quoted(condition);
  std::vector<std::string> names;
  for (const CommandOutline& child : command.commands) {
    out += start + " -f -a " + child.name + " -d " + quoted(child.description) + "\n";
  }
  for (const std::string& word : command.words) out += start + " -f -a " + word + "\n";
  for (const auto& option : command.options) {
    out += start;
    for (const std::string& name : option.names) {
      out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    }
    if (option.takes_value) out += " -r";
    if (!option.values.empty()) out += " -f -a " + quoted(joined(option.values));
    out += " -d " + quoted(option.description) + "\n";
  }
}

std::string fish_script(const CommandOutline& program) {
  std::string out =
      "# fish completion for tidings. Load it with: tidings completion fish | source\n"
      "complete -c tidings -f\n";
  fish_lines(program, "__fish_use_subcommand", out);
  for (const CommandOutline& command : program.commands) {
    std::string names;
    for (const CommandOutline& child : command.commands) names += (names.empty() ? "" : " ") + child.name;
    const std::string seen = "__fish_seen_subcommand_from " + command.name;
    fish_lines(command, names.empty() ? seen : seen + "; and not __fish_seen_subcommand_from " + names, out);
    for (const CommandOutline& child : command.commands) {
      fish_lines(child, seen + "; and __fish_seen_subcommand_from " + child.name, out);
    }
  }
  return out;
}

}  // namespace

int run_completion(const std::string& shell, const CommandOutline& program) {
  if (shell == "bash") {
    standard_output().write(bash_script(program));
  } else if (shell == "zsh") {
    standard_output().write(zsh_script(program));
  } else if (shell == "fish") {
    standard_output().write(fish_script(program));
  } else if (shell == "man") {
    standard_output().write(manual_page(program));
  } else {
    throw UsageError("completions are made for bash, zsh and fish, not for '" + shell + "'");
  }
  return exit_ok;
}

}  // namespace tidings::cli

// The manual page tidings(1): what the option tree says, and the little that only a manual says.
#include <algorithm>

#include "commands.hpp"
#include "failure.hpp"

namespace tidings::cli {

namespace {

struct Entry {
  const char *name, *text;
};

constexpr Entry environment[] = {
    {"TIDINGS_URL", "The engine, when --url names none."},
    {"TIDINGS_PASSWORD",
     "Kept for the password of an engine that is reached over a network, so that no URL need hold it. The engines of "
     "this "
     "version, sqlite: and memory:, ask for none."},
    {"NO_COLOR", "When set, tables have no colours. Without a terminal they never have."},
    {"TIDINGS_EVENT_ID, TIDINGS_EVENT_TYPE, TIDINGS_ATTEMPT, TIDINGS_GROUP, TIDINGS_CORRELATION_ID",
     "Set by consume --exec for the command that it runs: the event's id and type, the attempt (from 1), the group, "
     "and "
     "the correlation id."},
};

/// A text such that the formatter shows each of its characters as it is.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '"':
        out += "\\(dq";
        break;
      case '`':
        out += "\\(ga";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        out += c;
    }
  }
  // A line that starts with a dot would be a request.
  return out.starts_with('.') ? "\\&" + out : out;
}

std::string bold(const std::string& text) { return "\\fB" + escaped(text) + "\\fP"; }
std::string italic(const std::string& text) { return "\\fI" + escaped(text) + "\\fP"; }

std::string sentence(const std::string& text) { return escaped(text.ends_with('.') ? text : text + ".") + "\n"; }

std::string item(const std::string& head, const std::string& text) { return ".TP\n" + head + "\n" + text; }

std::string literal(const std::string& text) { return ".PP\n.RS 4\n.nf\n" + bold(text) + "\n.fi\n.RE\n"; }

std::string option_item(const CommandOutline::Option& option) {
  std::vector<std::string> names = option.names;
  std::sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  std::string head;
  for (const std::string& name : names) head += (head.empty() ? "" : ", ") + bold(name);
  if (option.takes_value) head += " " + italic(option.value);
  const bool told = std::all_of(option.values.begin(), option.values.end(), [&](const std::string& value) {
    return option.description.find(value) != std::string::npos;
  });
  std::string text = sentence(option.description);
  if (!told) {
    std::string values;
    for (const std::string& value : option.values) values += (values.empty() ? "" : ", ") + value;
    text += sentence("One of: " + values);
  }
  return item(head, text);
}

/// `[OPTION]... STREAM...`, or `COMMAND` where others come below.
std::string synopsis(const CommandOutline& command) {
  std::string text = "[" + italic("OPTION") + "]...";
  if (!command.commands.empty()) text += " " + italic("COMMAND");
  for (const auto& positional : command.positionals) {
    const std::string name = italic(positional.name) + (positional.repeatable ? "..." : "");
    text += positional.required ? " " + name : " [" + name + "]";
  }
  return text;
}

bool is_common(const CommandOutline::Option& option, const CommandOutline& program) {
  return std::any_of(program.options.begin(), program.options.end(),
                     [&](const CommandOutline::Option& common) { return common.names == option.names; });
}

/// The section of `command`, reached by `words`, and those of all below it.
std::string command_sections(const CommandOutline& command, const std::string& words, const CommandOutline& program) {
  std::string page = ".SS " + escaped(words) + "\n" + bold(words) + " " + synopsis(command) + "\n.PP\n";
  page += sentence(command.description);
  for (const auto& positional : command.positionals) {
    page += item(italic(positional.name), sentence(positional.description));
  }
  for (const auto& option : command.options) {
    if (!is_common(option, program)) page += option_item(option);
  }
  for (const CommandOutline& child : command.commands) {
    page += command_sections(child, words + " " + child.name, program);
  }
  return page;
}

std::string examples(const CommandOutline& command) {
  std::string page;
  // A command that only holds others has the example of one of them.
  if (command.commands.empty()) page = ".PP\n" + sentence(command.description) + literal(command.example);
  for (const CommandOutline& child : command.commands) page += examples(child);
  return page;
}

}  // namespace

std::string manual_page(const CommandOutline& program) {
  // Without a date, so that the same source gives the same page.
  std::string page = ".TH TIDINGS 1 \"\" \"Tidings " TIDINGS_VERSION "\" \"User Commands\"\n";
  page += ".SH NAME\ntidings \\- event\\-driven messaging between services\n";
  page += ".SH SYNOPSIS\n" + bold("tidings") + " " + synopsis(program) + "\n";
  page += ".SH DESCRIPTION\n" + sentence(program.description);
  page += sentence("Data goes to stdout, messages to stderr.");
  page += ".SH OPTIONS\n" + sentence("Every command takes these, before or after its own arguments.");
  for (const auto& option : program.options) page += option_item(option);
  page += ".SH COMMANDS\n" + sentence("A duration is written 250ms, 30s, 5m, 2h or 7d, a time as ISO 8601 has it");
  for (const CommandOutline& command : program.commands) {
    page += command_sections(command, "tidings " + command.name, program);
  }
  page += ".SH \"EXIT STATUS\"\n";
  for (const auto& [code, meaning] : exit_meanings) page += item(bold(std::to_string(code)), sentence(meaning));
  page += ".SH ENVIRONMENT\n";
  for (const Entry& variable : environment) page += item(bold(variable.name), sentence(variable.text));
  return page + ".SH EXAMPLES\n" + examples(program);
}

}  // namespace tidings::cli

#include "transport/aws/xml.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace tidings::transport::aws {
namespace {

constexpr std::size_t deepest = 32;

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool is_name(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == ':' || (static_cast<unsigned char>(c) & 0x80U) != 0;
}

void append_utf8(std::string& out, std::uint32_t point) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  const auto tail = [&](unsigned shift) { put(0x80U | ((point >> shift) & 0x3fU)); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xc0U | (point >> 6));
  } else if (point < 0x10000) {
    put(0xe0U | (point >> 12));
    tail(6);
  } else {
    put(0xf0U | (point >> 18));
    tail(12);
    tail(6);
  }
  tail(0);
}

class Reader {
 public:
  explicit Reader(std::string_view text) noexcept : left_(text) {}

  bool document(XmlElement& root) {
    take("\xef\xbb\xbf");
    if (!between() || !left_.starts_with('<') || !element(root, 0)) return false;
    return between() && left_.empty();
  }

 private:
  bool take(std::string_view expected) noexcept {
    if (!left_.starts_with(expected)) return false;
    left_.remove_prefix(expected.size());
    return true;
  }
  void space() noexcept {
    while (!left_.empty() && is_space(left_.front())) left_.remove_prefix(1);
  }
  /// Goes past `end`, and returns what stands before it.
  bool up_to(std::string_view end, std::string_view& before) noexcept {
    const std::size_t at = left_.find(end);
    if (at == std::string_view::npos) return false;
    before = left_.substr(0, at);
    left_.remove_prefix(at + end.size());
    return true;
  }
  /// Space, comments and instructions around the root.
  bool between() noexcept {
    std::string_view unread;
    for (;;) {
      space();
      if (take("<!--")) {
        if (!up_to("-->", unread)) return false;
      } else if (take("<?")) {
        if (!up_to("?>", unread)) return false;
      } else {
        return true;
      }
    }
  }
  bool name(std::string& out) {
    std::size_t size = 0;
    while (size < left_.size() && is_name(left_[size])) ++size;
    out.assign(left_.substr(0, size));
    left_.remove_prefix(size);
    return size > 0;
  }
  bool attributes() {
    std::string unread;
    std::string_view value;
    for (;;) {
      const bool apart = !left_.empty() && is_space(left_.front());
      space();
      if (left_.empty()) return false;
      if (left_.front() == '>' || left_.front() == '/') return true;
      if (!apart || !name(unread)) return false;
      space();
      if (!take("=")) return false;
      space();
      const bool closed = take("\"") ? up_to("\"", value) : take("'") && up_to("'", value);
      if (!closed || value.find('<') != std::string_view::npos) return false;
    }
  }
  bool entity(std::string& out) {
    std::string_view name;
    if (!up_to(";", name)) return false;
    constexpr std::pair<std::string_view, char> known[] = {
        {"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
    for (const auto& [word, means] : known) {
      if (name != word) continue;
      out += means;
      return true;
    }
    if (!name.starts_with('#')) return false;
    name.remove_prefix(1);
    const bool hexadecimal = name.starts_with('x');
    if (hexadecimal) name.remove_prefix(1);
    std::uint32_t point = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), point, hexadecimal ? 16 : 10);
    const bool whole = error == std::errc() && end == name.data() + name.size() && !name.empty();
    if (!whole || point == 0 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    append_utf8(out, point);
    return true;
  }
  bool content(XmlElement& out, std::size_t depth) {
    std::string_view part;
    for (;;) {
      const std::size_t plain = left_.find_first_of("<&");
      if (plain == std::string_view::npos) return false;
      out.text.append(left_.substr(0, plain));
      left_.remove_prefix(plain);
      if (take("&")) {
        if (!entity(out.text)) return false;
      } else if (take("</")) {
        std::string closing;
        if (!name(closing) || closing != out.name) return false;
        space();
        return take(">");
      } else if (take("<![CDATA[")) {
        if (!up_to("]]>", part)) return false;
        out.text.append(part);
      } else if (take("<!--")) {
        if (!up_to("-->", part)) return false;
      } else if (take("<?")) {
        if (!up_to("?>", part)) return false;
      } else if (!element(out.children.emplace_back(), depth + 1)) {
        return false;
      }
    }
  }
  bool element(XmlElement& out, std::size_t depth) {
    if (depth > deepest || !take("<") || !name(out.name) || !attributes()) return false;
    if (take("/")) return take(">");
    return take(">") && content(out, depth);
  }

  std::string_view left_;
};

}  // namespace

const XmlElement* XmlElement::child(std::string_view wanted) const noexcept {
  const auto found =
      std::find_if(children.begin(), children.end(), [&](const auto& each) { return each.name == wanted; });
  return found == children.end() ? nullptr : &*found;
}

const XmlElement* XmlElement::find(std::string_view path) const noexcept {
  const XmlElement* at = this;
  while (at != nullptr && !path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    at = at->child(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return at;
}

std::string_view XmlElement::at(std::string_view path) const noexcept {
  const XmlElement* const found = find(path);
  return found == nullptr ? std::string_view() : std::string_view(found->text);
}

std::optional<XmlElement> parse_xml(std::string_view text) {
  XmlElement root;
  if (!Reader(text).document(root)) return std::nullopt;
  return root;
}

}  // namespace tidings::transport::aws

// The XML that SNS and STS answer with: elements and text. Strict, and no more than that: no document types, no
// entities of one's own, so that no reply can make it fetch, repeat or nest without end.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidings::transport::aws {

/// An element. Its attributes are not kept: nothing that is read here stands in one.
struct XmlElement {
  std::string name{}, text{};  ///< The text is that outside of its children, entities undone.
  std::vector<XmlElement> children{};

  /// The first child of that name, or null.
  [[nodiscard]] const XmlElement* child(std::string_view wanted) const noexcept;
  /// The text of what `path` leads to (`Error/Code`); empty without it.
  [[nodiscard]] std::string_view at(std::string_view path) const noexcept;
  /// What `path` leads to, or null.
  [[nodiscard]] const XmlElement* find(std::string_view path) const noexcept;
};

/// The root element; nothing when this is no such text.
[[nodiscard]] std::optional<XmlElement> parse_xml(std::string_view text);

}  // namespace tidings::transport::aws

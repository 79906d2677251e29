// Declaring events, commands, structs and enums so that Tidings can read and write them.
//
//   enum class Role { FREELANCER, CLIENT };
//   TIDINGS_ENUM(Role, FREELANCER, CLIENT)
//   struct Address { std::string street; std::string city; };
//   TIDINGS_STRUCT(Address, street, city)
//   struct UserCreated { std::string userId; std::optional<Role> role; std::vector<Address> addresses; };
//   TIDINGS_EVENT(UserCreated, "user.created", "1.0", userId, role, addresses)
//
// Each macro stands at namespace scope, in the namespace of the type, after it. Member names are the wire's names.
// A member that the macro forgets is a compile error, as is a member of a type that has no JSON form. Members may be
// bool, the integer types, float and double, std::string, Json (any value, as text), described enums and structs, and
// of these std::optional (absent or null: empty), std::vector, std::map<std::string, …> and std::variant (the first
// alternative that accepts the value, in their order). Types must be aggregates without base classes, of at most 52
// members.
//
// Reading is tolerant: unknown members are skipped, a missing optional is empty, a missing member of any other type is
// an error with its path (`/data/items/0/sku: expected string, got number`).
#pragma once

#include <boost/describe.hpp>
#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace tidings {

/// Whether a message is an event (any number of groups) or a command (exactly one owner).
enum class MessageKind : unsigned char { event, command };

/// What TIDINGS_EVENT and TIDINGS_COMMAND record of a type. Views of literals.
struct MessageInfo {
  MessageKind kind = MessageKind::event;  ///< Event or command.
  std::string_view type{};                ///< On the wire: `user.created`.
  std::string_view version{};             ///< The schema's version: `1.0`.
  std::string_view name{};                ///< The C++ type, for messages.
};

namespace detail {
/// Type names are checked where they are declared, by the rules of check_type().
consteval bool is_type_name(std::string_view text) {
  if (text.empty() || text.size() > 200) return false;
  if (text.ends_with("-dlq") || text.substr(0, text.find('.')).ends_with("-dlq")) return false;
  bool expect = true;
  for (char c : text) {
    if (c == '.') {
      if (expect) return false;
      expect = true;
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-') {
      expect = false;
    } else {
      return false;
    }
  }
  return !expect;
}

/// Versions are numbers joined by dots.
consteval bool is_version(std::string_view text) {
  bool expect = true;
  for (char c : text) {
    if (c == '.' ? expect : c < '0' || c > '9') return false;
    expect = c == '.';
  }
  return !expect;
}

template <class T>
concept DescribedMessage = requires(const T* p) {
  { tidings_message(p) } -> std::same_as<MessageInfo>;
};
template <class T>
concept DescribedStruct = requires(const T* p) {
  tidings_described(p);
};
template <class T>
concept DescribedEnum = std::is_enum_v<T> && requires(const T* p) {
  tidings_enum(p);
};
}  // namespace detail

/// A type declared with TIDINGS_EVENT.
template <class T>
concept EventType = detail::DescribedMessage<T> &&
    (tidings_message(static_cast<const T*>(nullptr)).kind == MessageKind::event);

/// A type declared with TIDINGS_COMMAND.
template <class T>
concept CommandType = detail::DescribedMessage<T> &&
    (tidings_message(static_cast<const T*>(nullptr)).kind == MessageKind::command);

/// Either of the two.
template <class T>
concept MessageType = EventType<T> || CommandType<T>;

/// What was declared of `T`.
template <MessageType T>
[[nodiscard]] constexpr MessageInfo message_info() noexcept {
  return tidings_message(static_cast<const T*>(nullptr));
}

}  // namespace tidings

#include <tidings/detail/describe.hpp>

/// Declares `Type` as a nested struct: every member, in the order of the wire.
#define TIDINGS_STRUCT(Type, ...) TIDINGS_DETAIL_STRUCT(Type __VA_OPT__(, ) __VA_ARGS__)

/// Declares `Type` as an event of type `type_name` (a literal, `category.name`) and schema version `version`.
#define TIDINGS_EVENT(Type, type_name, version, ...) \
  TIDINGS_DETAIL_MESSAGE(::tidings::MessageKind::event, Type, type_name, version __VA_OPT__(, ) __VA_ARGS__)

/// Declares `Type` as a command of type `type_name`, which exactly one service handles.
#define TIDINGS_COMMAND(Type, type_name, version, ...) \
  TIDINGS_DETAIL_MESSAGE(::tidings::MessageKind::command, Type, type_name, version __VA_OPT__(, ) __VA_ARGS__)

/// Declares an enum whose enumerators are written by name; an unknown name is an error with its path.
#define TIDINGS_ENUM(Type, ...) TIDINGS_DETAIL_ENUM(Type, __VA_ARGS__)

// What the TIDINGS_ macros expand to, and the checks that make a mistake readable. Not for applications.
//
// The lists of members and enumerators are Boost.Describe's, so that a type declared here is described for other
// libraries too. Every check is a static_assert that stands before anything deep is instantiated: its sentence is the
// first error.
#pragma once

#include <boost/describe.hpp>
#include <boost/pfr/tuple_size.hpp>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include <tidings/json.hpp>

namespace tidings::detail {

template <class T>
inline constexpr bool is_json_integer =
    std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> && !std::is_same_v<T, wchar_t> &&
    !std::is_same_v<T, char8_t> && !std::is_same_v<T, char16_t> && !std::is_same_v<T, char32_t> && sizeof(T) <= 8;

/// Whether `T` has a JSON form of its own, or one made of its parts.
template <class T>
inline constexpr bool has_json_form =
    std::is_same_v<T, bool> || is_json_integer<T> || std::is_same_v<T, float> || std::is_same_v<T, double> ||
    std::is_same_v<T, std::string> || std::is_same_v<T, Json> || DescribedStruct<T> || DescribedEnum<T>;
template <class T>
inline constexpr bool has_json_form<std::optional<T>> = has_json_form<T>;
template <class T>
inline constexpr bool has_json_form<std::vector<T>> = has_json_form<T>;
template <class T>
inline constexpr bool has_json_form<std::map<std::string, T>> = has_json_form<T>;
template <class... T>
inline constexpr bool has_json_form<std::variant<T...>> = (has_json_form<T> && ...);

/// Whether `count` members are all that `T` has. True for what is no plain aggregate: that has an error of its own.
template <class T>
consteval bool has_members(std::size_t count) {
  if constexpr (!std::is_aggregate_v<T> || std::is_polymorphic_v<T>) {
    return true;
  } else if constexpr (std::is_empty_v<T>) {
    return count == 0;
  } else {
    return boost::pfr::tuple_size_v<T> == count;
  }
}

/// How many names a macro was given, from their text.
consteval std::size_t count_names(std::string_view text) {
  if (text.empty()) return 0;
  std::size_t count = 1;
  for (char c : text) count += c == ',' ? 1 : 0;
  return count;
}

/// Whether a macro was given the same name twice.
consteval bool names_are_distinct(std::string_view text) {
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find_first_of(", "));
    text.remove_prefix(name.size());
    text.remove_prefix(text.find_first_not_of(", ") == std::string_view::npos ? text.size()
                                                                              : text.find_first_not_of(", "));
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view other = rest.substr(0, rest.find_first_of(", "));
      if (other == name) return false;
      rest.remove_prefix(other.size());
      rest.remove_prefix(rest.find_first_not_of(", ") == std::string_view::npos ? rest.size()
                                                                                : rest.find_first_not_of(", "));
    }
  }
  return true;
}

/// Whether the macro could list its members: Boost.Describe ends at 52.
inline constexpr std::size_t most_members = 52;

}  // namespace tidings::detail

// One check a member, called by Boost.Describe's list walker with the type and the member.
#define TIDINGS_DETAIL_CHECK_MEMBER(Type, member)                         \
  static_assert(::tidings::detail::has_json_form<decltype(Type::member)>, \
                "tidings: member " #Type "::" #member                     \
                " has a type without a JSON form; see tidings/describe.hpp for those that have one");

#define TIDINGS_DETAIL_CHECK_MEMBERS(Type, ...) \
  __VA_OPT__(BOOST_DESCRIBE_PP_FOR_EACH(TIDINGS_DETAIL_CHECK_MEMBER, Type, __VA_ARGS__))

#define TIDINGS_DETAIL_STRUCT(Type, ...)                                                                              \
  static_assert(::tidings::detail::count_names(#__VA_ARGS__) <= ::tidings::detail::most_members,                      \
                "tidings: " #Type " has more than 52 members; put some of them into a struct of their own");          \
  static_assert(std::is_class_v<Type> && std::is_aggregate_v<Type> && !std::is_polymorphic_v<Type>,                   \
                "tidings: " #Type                                                                                     \
                " must be a plain struct: no constructors, no base classes, no private members, "                     \
                "nothing virtual");                                                                                   \
  static_assert(::tidings::detail::has_members<Type>(::tidings::detail::count_names(#__VA_ARGS__)),                   \
                "tidings: the macro does not list every member of " #Type "; name them all");                         \
  static_assert(::tidings::detail::names_are_distinct(#__VA_ARGS__), "tidings: " #Type " has a member listed twice"); \
  [[maybe_unused]] constexpr void tidings_described(const Type*) noexcept {}                                          \
  TIDINGS_DETAIL_CHECK_MEMBERS(Type __VA_OPT__(, ) __VA_ARGS__)                                                       \
  BOOST_DESCRIBE_STRUCT(Type, (), (__VA_ARGS__))

#define TIDINGS_DETAIL_MESSAGE(message_kind, Type, type_name, type_version, ...)                            \
  static_assert(::tidings::detail::is_type_name(type_name),                                                 \
                "tidings: \"" type_name                                                                     \
                "\" is not a type name: names of A-Z, a-z, 0-9, _ and - joined by single "                  \
                "dots, at most 200 bytes, none ending in -dlq");                                            \
  static_assert(::tidings::detail::is_version(type_version),                                                \
                "tidings: \"" type_version "\" is not a version: numbers joined by dots, for example 1.0"); \
  TIDINGS_DETAIL_STRUCT(Type __VA_OPT__(, ) __VA_ARGS__)                                                    \
  [[maybe_unused]] constexpr ::tidings::MessageInfo tidings_message(const Type*) noexcept {                 \
    return {message_kind, type_name, type_version, #Type};                                                  \
  }

#define TIDINGS_DETAIL_ENUM(Type, ...)                                                                       \
  static_assert(std::is_enum_v<Type>, "tidings: " #Type " is not an enum; use TIDINGS_STRUCT for a struct"); \
  static_assert(::tidings::detail::count_names(#__VA_ARGS__) <= ::tidings::detail::most_members,             \
                "tidings: " #Type " has more than 52 enumerators, which TIDINGS_ENUM cannot list");          \
  [[maybe_unused]] constexpr void tidings_enum(const Type*) noexcept {}                                      \
  BOOST_DESCRIBE_ENUM(Type, __VA_ARGS__)

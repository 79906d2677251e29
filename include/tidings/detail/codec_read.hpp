// The templates that know a type: they make one table of its members, which the library's reader and writer walk. Not
// for applications.
#pragma once

#include <algorithm>
#include <array>
#include <boost/mp11/algorithm.hpp>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <tidings/describe.hpp>
#include <tidings/detail/json_reader.hpp>
#include <tidings/detail/json_writer.hpp>
#include <tidings/error.hpp>

namespace tidings::detail {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
void read_value(JsonValue& value, const JsonPath& path, T& out);
// Declared together, since each may hold any of the others and the table of members names them all.
template <class T>
void write_value(std::string& out, const T& value, std::size_t depth);
template <class T>
void write_value(std::string& out, const std::optional<T>& value, std::size_t depth);
template <class T>
void write_value(std::string& out, const std::vector<T>& values, std::size_t depth);
template <class T>
void write_value(std::string& out, const std::map<std::string, T>& values, std::size_t depth);
template <class... T>
void write_value(std::string& out, const std::variant<T...>& value, std::size_t depth);
template <class T>
void write_member(Gathered& out, const T& value, std::size_t depth);

template <class T>
void read_into(JsonValue& value, const JsonPath& path, void* target) {
  read_value(value, path, *static_cast<T*>(target));
}

// Structs.

/// What stands before the value of the member `D` that Boost.Describe lists. Names are identifiers: nothing in them
/// needs an escape.
template <class D>
inline constexpr auto member_key = [] {
  constexpr std::string_view before = ",\"", name = D::name, behind = "\":";
  std::array<char, before.size() + name.size() + behind.size()> text{};
  char* to = text.data();
  for (std::string_view part : {before, name, behind}) to = std::copy(part.begin(), part.end(), to);
  return text;
}();

template <class T, class D>
[[nodiscard]] constexpr MemberForm member_form() {
  using Member = std::remove_cvref_t<decltype(std::declval<T&>().*D::pointer)>;
  MemberForm form{.name = D::name, .key = {member_key<D>.data(), member_key<D>.size()}};
  form.read = [](JsonValue& value, const JsonPath& path, void* target) {
    read_value(value, path, static_cast<T*>(target)->*D::pointer);
  };
  form.write = [](Gathered& out, const void* object, std::size_t depth) {
    write_member(out, static_cast<const T*>(object)->*D::pointer, depth);
  };
  if constexpr (is_optional<Member>) {
    form.absent = [](const void* object) { return !(static_cast<const T*>(object)->*D::pointer).has_value(); };
  }
  return form;
}

template <class T>
struct StructForm {
  template <template <class...> class List, class... D>
  static constexpr auto make(List<D...>) {
    return std::array<MemberForm, sizeof...(D)>{member_form<T, D>()...};
  }
  static constexpr auto members = make(boost::describe::describe_members<T, boost::describe::mod_public>{});
};

// Enums.

template <class T>
struct EnumForm {
  template <template <class...> class List, class... D>
  static constexpr auto names_of(List<D...>) {
    return std::array<std::string_view, sizeof...(D)>{std::string_view(D::name)...};
  }
  template <template <class...> class List, class... D>
  static constexpr auto values_of(List<D...>) {
    return std::array<T, sizeof...(D)>{D::value...};
  }
  static constexpr auto names = names_of(boost::describe::describe_enumerators<T>{});
  static constexpr auto values = values_of(boost::describe::describe_enumerators<T>{});
};

// Containers and choices.

template <class T>
void read_value(JsonValue& value, const JsonPath& path, std::optional<T>& out) {
  if (kind_of(value, path) == JsonKind::null) {
    out.reset();
  } else {
    read_value(value, path, out.emplace());
  }
}

template <class T>
void read_value(JsonValue& value, const JsonPath& path, std::vector<T>& out) {
  out.clear();
  read_elements(
      value, path,
      [](JsonValue& element, const JsonPath& at, void* target) {
        auto& elements = *static_cast<std::vector<T>*>(target);
        if constexpr (std::is_same_v<T, bool>) {
          elements.push_back(read_bool(element, at));
        } else {
          read_value(element, at, elements.emplace_back());
        }
      },
      &out);
}

template <class T>
void read_value(JsonValue& value, const JsonPath& path, std::map<std::string, T>& out) {
  out.clear();
  read_entries(
      value, path,
      [](JsonValue& entry, const JsonPath& at, void* target) {
        auto& map = *static_cast<std::map<std::string, T>*>(target);
        const auto [place, fresh] = map.try_emplace(std::string(at.key));
        if (!fresh) refuse_value(at, "duplicate key");
        read_value(entry, at, place->second);
      },
      &out);
}

/// Whether a value of this kind may be a `T`; spares the variant an attempt that must fail.
template <class T>
[[nodiscard]] constexpr bool may_be(JsonKind kind) {
  if constexpr (std::is_same_v<T, bool>) {
    return kind == JsonKind::boolean;
  } else if constexpr (std::is_arithmetic_v<T>) {
    return kind == JsonKind::number;
  } else if constexpr (std::is_same_v<T, std::string> || DescribedEnum<T>) {
    return kind == JsonKind::string;
  } else if constexpr (DescribedStruct<T>) {
    return kind == JsonKind::object;
  } else {
    return true;
  }
}

template <class T, class Variant>
[[nodiscard]] bool read_alternative(std::string_view raw, JsonKind kind, const JsonPath& path, Variant& out) {
  if (!may_be<T>(kind)) return false;
  try {
    T candidate{};
    read_again(raw, path, &read_into<T>, &candidate);
    out = std::move(candidate);
    return true;
  } catch (const Error&) {
    return false;  // The next alternative may accept it; if none does, that is the error.
  }
}

template <class... T>
void read_value(JsonValue& value, const JsonPath& path, std::variant<T...>& out) {
  const JsonKind kind = kind_of(value, path);
  const std::string_view raw = read_raw(value, path);
  if (!(read_alternative<T>(raw, kind, path, out) || ...)) {
    refuse_value(path, "none of the member's types accepts this value");
  }
}

// The one place that knows every JSON form.

template <class T>
void read_value(JsonValue& value, const JsonPath& path, T& out) {
  if constexpr (std::is_same_v<T, std::string>) {
    read_string(value, path, out);
  } else if constexpr (std::is_same_v<T, bool>) {
    out = read_bool(value, path);
  } else if constexpr (std::is_floating_point_v<T>) {
    const double number = read_double(value, path);
    if (sizeof(T) < sizeof(double) &&
        (number > std::numeric_limits<T>::max() || number < std::numeric_limits<T>::lowest())) {
      refuse_value(path, "number out of range");
    }
    out = static_cast<T>(number);
  } else if constexpr (std::is_same_v<T, Json>) {
    out = Json(std::string(read_raw(value, path)));
  } else if constexpr (DescribedEnum<T>) {
    out = EnumForm<T>::values[read_name(value, path, EnumForm<T>::names)];
  } else if constexpr (DescribedStruct<T>) {
    read_members(value, path, StructForm<T>::members, &out);
  } else if constexpr (std::is_signed_v<T>) {
    using Limits = std::numeric_limits<T>;
    out = static_cast<T>(read_signed(value, path, Limits::min(), Limits::max()));
  } else {
    static_assert(is_json_integer<T>, "tidings: this type has no JSON form; see tidings/describe.hpp");
    out = static_cast<T>(read_unsigned(value, path, std::numeric_limits<T>::max()));
  }
}

}  // namespace tidings::detail

#include <tidings/id.hpp>

#include <openssl/evp.h>
#include <pthread.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include <tidings/error.hpp>

#include "core/id_text.hpp"

namespace tidings {
namespace {

/// Grows in every forked child, so that no two processes go on from the same state.
constinit std::atomic<std::uint64_t> fork_generation{1};

struct WatchForks {
  WatchForks() noexcept {
    ::pthread_atfork(nullptr, nullptr, [] { fork_generation.fetch_add(1, std::memory_order_relaxed); });
  }
};

/// xoshiro256++ (Blackman and Vigna, public domain algorithm), seeded by the kernel.
struct Generator {
  std::array<std::uint64_t, 4> state{};
  std::uint64_t generation = 0;

  void seed() noexcept {
    std::size_t filled = 0;
    auto* const bytes = reinterpret_cast<unsigned char*>(state.data());
    while (filled < sizeof state) {
      const auto got = ::getrandom(bytes + filled, sizeof state - filled, 0);
      if (got > 0) filled += static_cast<std::size_t>(got);
    }
    state[0] |= 1;  // The all-zero state would stay zero for ever.
  }

  std::uint64_t next() noexcept {
    const std::uint64_t result = std::rotl(state[0] + state[3], 23) + state[0];
    const std::uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = std::rotl(state[3], 45);
    return result;
  }
};

class SystemRandom final : public Random {
 public:
  std::uint64_t next() noexcept override {
    thread_local Generator generator;
    const auto now = fork_generation.load(std::memory_order_relaxed);
    if (generator.generation != now) [[unlikely]] {
      generator.seed();
      generator.generation = now;
    }
    return generator.next();
  }

 private:
  WatchForks watch_;
};

constexpr std::string_view crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What every ten bits are written as.
constexpr auto pairs = [] {
  std::array<std::array<char, 2>, 1024> all{};
  for (std::size_t bits = 0; bits < all.size(); ++bits) all[bits] = {crockford[bits >> 5], crockford[bits & 31]};
  return all;
}();

/// Writes two characters for each of `place`, which count from the left; without a loop, whose every step would shift
/// by another number.
template <std::size_t... place>
void write_pairs(char* to, std::uint64_t bits, std::index_sequence<place...>) noexcept {
  (std::memcpy(to + 2 * place, pairs[bits >> 10 * (sizeof...(place) - 1 - place) & 1023].data(), 2), ...);
}

/// Writes the 16 characters of a ULID's random bits, which are two parts of 40.
void write_entropy(char* out, std::uint64_t high, std::uint64_t low) noexcept {
  write_pairs(out, high, std::make_index_sequence<4>());
  write_pairs(out + 8, low, std::make_index_sequence<4>());
}

/// Writes the 10 characters of a ULID's time.
void write_millis(char* out, Wall time) noexcept {
  const auto millis =
      static_cast<std::uint64_t>(std::max<std::int64_t>(time.time_since_epoch().count(), 0)) & 0xFFFF'FFFF'FFFF;
  // Many ids in a row are of the same millisecond.
  struct Last {
    std::uint64_t millis = 0;
    char text[10]{'0', '0', '0', '0', '0', '0', '0', '0', '0', '0'};
  };
  thread_local Last last;
  if (millis != last.millis) {
    write_pairs(last.text, millis, std::make_index_sequence<5>());
    last.millis = millis;
  }
  std::memcpy(out, last.text, sizeof last.text);
}

void append_ulid(std::string& out, Wall time, const std::array<std::uint8_t, 10>& entropy) {
  char text[26];
  std::uint64_t halves[2]{};
  for (std::size_t i = 0; i < entropy.size(); ++i) halves[i / 5] = halves[i / 5] << 8 | entropy[i];
  write_millis(text, time);
  write_entropy(text + 10, halves[0], halves[1]);
  out.append(text, sizeof text);
}

std::array<unsigned char, 8> little_endian(std::uint64_t value) noexcept {
  std::array<unsigned char, 8> bytes{};
  for (unsigned char& byte : bytes) {
    byte = static_cast<unsigned char>(value);
    value >>= 8;
  }
  return bytes;
}

/// SHA-256 over parts that are each preceded by their length. The context is kept by the thread, since making one costs
/// more than hashing an id.
class PartsHash {
 public:
  PartsHash() : context_(thread_context()) {
    if (::EVP_DigestInit_ex(context_, ::EVP_sha256(), nullptr) != 1) fail();
  }
  void add(std::string_view part) {
    const auto length = little_endian(part.size());
    update(length.data(), length.size());
    update(part.data(), part.size());
  }
  void add(std::uint64_t number) {
    const auto bytes = little_endian(number);
    add(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  std::array<std::uint8_t, 32> finish() {
    std::array<std::uint8_t, 32> digest{};
    unsigned size = 0;
    if (::EVP_DigestFinal_ex(context_, digest.data(), &size) != 1 || size != digest.size()) fail();
    return digest;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const noexcept { ::EVP_MD_CTX_free(context); }
  };
  static EVP_MD_CTX* thread_context() {
    thread_local const std::unique_ptr<EVP_MD_CTX, Free> context(::EVP_MD_CTX_new());
    if (!context) fail();
    return context.get();
  }
  [[noreturn]] static void fail() {
    throw Error(ErrorCode::internal,
                "SHA-256 of OpenSSL failed while an event id was derived; check the OpenSSL set-up");
  }
  void update(const void* data, std::size_t size) {
    if (::EVP_DigestUpdate(context_, data, size) != 1) fail();
  }

  EVP_MD_CTX* context_;
};

}  // namespace

Random& system_random() noexcept {
  // Never destroyed: threads may still draw from it while the process exits.
  static SystemRandom* const random = new SystemRandom;
  return *random;
}

std::string ulid(Wall time, const std::array<std::uint8_t, 10>& entropy) {
  std::string out;
  append_ulid(out, time, entropy);
  return out;
}

void core::begin_id(char* out, std::string_view prefix, Wall now) noexcept {
  std::memcpy(out, prefix.data(), 4);
  write_millis(out + 4, now);
}

void core::write_new_id(char* out, std::string_view prefix, Wall now, Random& random) noexcept {
  begin_id(out, prefix, now);
  renew_id(out, random);
}

void core::renew_id(char* id, Random& random) noexcept {
  const std::uint64_t high = random.next();
  const std::uint64_t low = random.next();
  write_entropy(id + 14, high >> 24, (high & 0xFF'FFFF) << 16 | low >> 48);
}

std::string new_event_id(Wall now, Random& random) {
  char text[core::new_id_size];
  core::write_new_id(text, "evt_", now, random);
  return {text, sizeof text};
}

std::string derived_event_id(const Derivation& from) {
  PartsHash hash;
  hash.add(from.cause_source);
  hash.add(from.cause_id);
  hash.add(from.group);
  hash.add(from.run);
  hash.add(from.ordinal);
  const auto digest = hash.finish();
  std::array<std::uint8_t, 10> entropy{};
  std::copy_n(digest.begin(), entropy.size(), entropy.begin());
  std::string out;
  out.reserve(30);
  out += "evt_";
  append_ulid(out, from.cause_time, entropy);
  return out;
}

}  // namespace tidings

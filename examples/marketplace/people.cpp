#include "people.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <random>

namespace market {
namespace {

constexpr std::array first_names = {"Ada",  "Amara", "Bruno",  "Chiara", "Dara",  "Elif",  "Emil",  "Farah",
                                    "Gita", "Hugo",  "Ines",   "Jonas",  "Kaito", "Lena",  "Malik", "Mira",
                                    "Noor", "Oskar", "Petra",  "Quinn",  "Rosa",  "Samir", "Tomas", "Uma",
                                    "Vera", "Wanja", "Ximena", "Yusuf",  "Zoe"};
constexpr std::array last_names = {"Abel",   "Banerjee", "Castro", "Dubois",   "Eriksen",   "Ferrari", "Garcia",
                                   "Haddad", "Ivanova",  "Jansen", "Kowalski", "Lindqvist", "Moreau",  "Nakamura",
                                   "Okafor", "Pereira",  "Quist",  "Rossi",    "Schneider", "Tanaka",  "Ueda",
                                   "Varga",  "Weber",    "Xu",     "Yilmaz",   "Zimmermann"};
constexpr std::array skills = {
    "c++",           "rust",         "typescript", "react",        "postgres",    "redis",
    "kubernetes",    "terraform",    "figma",      "illustration", "copywriting", "translation",
    "seo",           "accounting",   "video",      "audio",        "embedded",    "machine-learning",
    "data-analysis", "accessibility"};
constexpr std::array works = {"Booking page",     "Warehouse scanner", "Patient portal",   "Recipe app",
                              "Annual report",    "Onboarding flow",   "Fleet dashboard",  "Museum guide",
                              "Invoice importer", "Podcast trailer",   "Brand guidelines", "Sensor firmware",
                              "Search ranking",   "Tax calculator",    "Course platform",  "Seat map"};
constexpr std::array customers = {"a bakery chain", "a regional clinic",  "a bike courier",    "a city archive",
                                  "a choir",        "a solar installer",  "a language school", "a law firm",
                                  "a theatre",      "a farm cooperative", "a harbour",         "a book publisher"};

template <class Words>
std::string pick(std::mt19937& random, const Words& words) {
  return words[random() % words.size()];
}

std::string address(const std::string& name, std::uint32_t number, const char* domain) {
  std::string local;
  for (const char c : name)
    local.push_back(c == ' ' ? '.' : static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  return local + std::to_string(number) + "@" + domain;
}

std::vector<std::string> some_skills(std::mt19937& random) {
  std::vector<std::string> chosen;
  while (chosen.size() < 2 + random() % 2) {
    const std::string skill = pick(random, skills);
    if (std::find(chosen.begin(), chosen.end(), skill) == chosen.end()) chosen.push_back(skill);
  }
  return chosen;
}

}  // namespace

Story tell_story(std::uint32_t number) {
  std::mt19937 random(number * 2654435761U + 1);
  Story story;
  const std::string client = pick(random, first_names) + " " + pick(random, last_names);
  const std::string freelancer = pick(random, first_names) + " " + pick(random, last_names);
  // Some mailboxes are gone, some servers turn a mail away at first, somebody leaves the name out.
  const char* const client_domain = number % 90 == 41 ? "gone.example" : "clients.example";
  const char* const freelancer_domain = number % 60 == 17  ? "gone.example"
                                        : number % 25 == 3 ? "slow.example"
                                                           : "freelance.example";
  story.client = {client, address(client, number, client_domain), Role::CLIENT, {}};
  story.freelancer = {number % 110 == 29 ? "" : freelancer, address(freelancer, number, freelancer_domain),
                      Role::FREELANCER, some_skills(random)};
  story.moves = number % 3 == 0;
  story.project = {story.client.email, pick(random, works) + " for " + pick(random, customers), some_skills(random),
                   static_cast<std::int64_t>(50'000 + random() % 1'500'000)};
  // Now and then more than a card allows.
  story.price =
      number % 120 == 77 ? 2'500'000 : story.project.budget / 100 * static_cast<std::int64_t>(80 + random() % 20);
  return story;
}

}  // namespace market

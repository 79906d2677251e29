#include "passage.hpp"

#include <algorithm>

namespace tidings::cli {

namespace {

/// Whether the event itself is at fault, so that all others can go on without it.
bool blames_event(ErrorCode code) { return code == ErrorCode::too_large || code == ErrorCode::invalid; }

}  // namespace

void Passage::begin(std::vector<Item> items) {
  states_.clear();
  settled_ = 0;
  for (Item& item : items) {
    State& state = states_.emplace_back();
    if (!item.fault.empty()) {
      state.step = Step::aside;
      state.reason = "undecodable";
      state.error = item.fault;
    } else if (item.known || is_stored(item.place)) {
      state.step = Step::stored;
    }
    state.item = std::move(item);
  }
}

std::vector<std::size_t> Passage::publish(std::size_t most) const {
  std::vector<std::size_t> next;
  for (std::size_t i = 0; i < states_.size() && next.size() < most; ++i) {
    if (states_[i].step == Step::waits) next.push_back(i);
  }
  return next;
}

Passage::Answer Passage::published(std::span<const std::size_t> items, std::span<const transport::Result> results) {
  Answer answer;
  const transport::Result* last_refusal = nullptr;
  for (std::size_t i = 0; i < items.size(); ++i) {
    State& state = states_.at(items[i]);
    const transport::Result& result = results[i];
    if (result.code == ErrorCode::ok) {
      state.step = Step::stored;
      remember(state.item.place);
      refused_ = 0;
      ++moved_;
      ++answer.stored;
      if (state.asked || result.ambiguous) ++repeated_;
    } else if (result.retryable) {
      if (answer.why.empty()) answer.why = result.message;
      answer.again = true;
      state.asked = state.asked || result.ambiguous || result.code == ErrorCode::timeout;
    } else if (blames_event(result.code)) {
      state.step = Step::aside;
      state.reason = "rejected";
      state.error = result.message;
      ++answer.aside;
      last_refusal = ++refused_ >= brake ? &result : last_refusal;
    } else if (answer.fatal == ErrorCode::ok) {
      answer.fatal = result.code;
      answer.why = result.message;
    }
  }
  if (last_refusal != nullptr) hold_back(answer, *last_refusal);
  return answer;
}

void Passage::hold_back(Answer& answer, const transport::Result& last) {
  for (State& state : states_) {
    if (state.step == Step::aside && state.reason == "rejected") state.step = Step::waits;
  }
  answer.aside = 0;
  answer.fatal = last.code;
  answer.why =
      std::to_string(refused_) + " events were refused one after the other, the last one because: " + last.message;
}

void Passage::unknown(std::span<const std::size_t> items) {
  for (const std::size_t item : items) states_.at(item).asked = true;
}

std::vector<Passage::Verdict> Passage::settle() {
  std::vector<Verdict> verdicts;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    if (state.step != Step::stored && state.step != Step::aside) continue;
    const bool dead = state.step == Step::aside;
    if (dead) ++dead_;
    verdicts.push_back({.item = i, .dead = dead, .reason = state.reason, .error = state.error});
    state.step = Step::named;
    ++settled_;
  }
  return verdicts;
}

void Passage::settled(std::size_t item) { stored_.erase(states_.at(item).item.place); }

void Passage::remember(const Place& place) {
  if (place.position != Position{}) stored_.insert(place);
}

void Passage::keep_only(const std::set<Place>& outstanding) {
  std::erase_if(stored_, [&](const Place& place) { return !outstanding.contains(place); });
}

}  // namespace tidings::cli

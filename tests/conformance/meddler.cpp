// What stands between the runtime and a subscription of the transport under test.
#include "meddler.hpp"

namespace tidings::conformance {

class Meddler::Between : public Subscription {
 public:
  Between(Meddler& meddler, std::unique_ptr<Subscription> inner) : meddler_(meddler), inner_(std::move(inner)) {}

  Batch fetch(Millis wait, std::stop_token stop) override {
    Batch batch = inner_->fetch(wait, std::move(stop));
    if (meddler_.on_fetched) meddler_.on_fetched(batch);
    return batch;
  }

  void settle(std::span<const Settlement> items, std::span<Result> results) override {
    const auto pass = [&] { inner_->settle(items, results); };
    if (meddler_.on_settle) {
      meddler_.on_settle(items, results, pass);
    } else {
      pass();
    }
  }

  std::vector<AckToken> renew() override {
    const auto pass = [&] { return inner_->renew(); };
    return meddler_.on_renew ? meddler_.on_renew(pass) : pass();
  }

 private:
  Meddler& meddler_;
  std::unique_ptr<Subscription> inner_;
};

void Meddler::publish(std::span<const Outgoing> items, Level level, Millis within, std::span<Result> results) {
  const auto pass = [&] { inner_->publish(items, level, within, results); };
  if (on_publish) {
    on_publish(items, results, pass);
  } else {
    pass();
  }
}

std::unique_ptr<Subscription> Meddler::subscribe(const Interest& interest) {
  return std::make_unique<Between>(*this, inner_->subscribe(interest));
}

}  // namespace tidings::conformance

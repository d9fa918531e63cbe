#include "lowmem/engine/gradient_book.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"

namespace lowmem::engine {
namespace {

// torch's: the norm may be 0.
constexpr double kClipEps = 1e-6;

class Known final : public PendingReport {
 public:
  explicit Known(GradientReport report) : report_(std::move(report)) {}
  GradientReport wait() override { return report_; }

 private:
  GradientReport report_;
};

class HostBook final : public GradientBook {
 public:
  HostBook(optim::Optimizer& optimizer, weights::Home& home, weights::RankBudget* budget)
      : optimizer_(optimizer), home_(home), budget_(budget) {}

  void begin(const optim::StepInfo& step) override {
    step_ = step;
    report_ = {};
    squared_norm_ = 0;
    norms_.clear();
    clipped_ = false;
  }
  void guard(const at::Tensor&) override {}

  void measure(weights::Weight& weight, const ops::MatrixRows& gradient) override {
    const double norm = optim::Passes(weight, gradient, &home_).squared_norm();
    norms_[&weight] = norm;
    add(weight, norm);
  }

  bool clip(double clip_norm) override {
    if (!report_.nonfinite.empty()) return false;
    const double norm = std::sqrt(squared_norm_);
    step_.grad_scale = static_cast<float>(std::min(1.0, clip_norm / (norm + kClipEps)));
    clipped_ = true;
    return true;
  }

  void update(weights::Weight& weight, const ops::MatrixRows& gradient) override {
    const auto measured = norms_.find(&weight);
    const optim::Passes passes(
        weight, gradient, &home_,
        measured == norms_.end() ? std::nullopt : std::optional(measured->second));
    const optim::UpdateResult result = optimizer_.update(weight, passes, step_);
    if (budget_ != nullptr && result.finite() && gradient.is_whole())
      budget_->score(weight, passes.gradient().whole(), step_.grad_scale, step_.step + 1);
    if (!clipped_ || !result.finite()) add(weight, result.squared_norm);
    report_.rounding += result.rounding;
  }

  std::unique_ptr<PendingReport> report() override {
    report_.norm = std::sqrt(squared_norm_);
    if (budget_ != nullptr) {
      report_.orthogonality = budget_->orthogonality();
      report_.rank = budget_->rank();
    }
    return std::make_unique<Known>(std::move(report_));
  }

 private:
  void add(const weights::Weight& weight, double squares) {
    if (optim::UpdateResult::is_finite(squares))
      squared_norm_ += squares;
    else
      report_.nonfinite.push_back(weight.name());
  }

  optim::Optimizer& optimizer_;
  weights::Home& home_;
  weights::RankBudget* budget_;
  optim::StepInfo step_;
  GradientReport report_;
  double squared_norm_ = 0;
  std::map<const weights::Weight*, double> norms_;  // as they were measured
  bool clipped_ = false;
};

// The numbers of a step in the order in which a report names them.
class Arriving final : public PendingReport {
 public:
  Arriving(const at::Tensor& squares, const at::Tensor& rounding,
           const std::vector<std::string>& names)
      : squares_(squares), rounding_(rounding), names_(names) {}

  GradientReport wait() override {
    GradientReport report;
    const double* squares = squares_.wait().const_data_ptr<double>();
    const int64_t* rounding = rounding_.wait().const_data_ptr<int64_t>();
    double sum = 0;
    for (size_t i = 0; i < names_.size(); ++i) {
      if (optim::UpdateResult::is_finite(squares[i]))
        sum += squares[i];
      else
        report.nonfinite.push_back(names_[i]);
    }
    report.norm = std::sqrt(sum);
    report.rounding = {rounding[0], rounding[1]};
    return report;
  }

 private:
  ops::HostCopy squares_, rounding_;
  const std::vector<std::string>& names_;
};

// All numbers stay at one address, where replayed launches find them.
class DeviceBook final : public GradientBook {
 public:
  DeviceBook(optim::Optimizer& optimizer, weights::Home& home)
      : optimizer_(optimizer), home_(home) {
    const weights::Table& table = home.table();
    for (const weights::Weight& weight : table.all()) {
      if (!weight.trained) continue;
      place_[&weight] = static_cast<int64_t>(names_.size());
      names_.push_back(weight.name());
    }
    const auto device = at::TensorOptions(table.all().front().here.device());
    const auto count = static_cast<int64_t>(names_.size());
    squares_ = at::zeros({count}, device.dtype(at::kDouble));
    whole_ = at::zeros({1}, device.dtype(at::kDouble));
    scale_ = at::ones({1}, device.dtype(at::kFloat));
    rounding_ = at::zeros({2}, device.dtype(at::kLong));
    for (const weights::Weight& weight : table.all())
      if (weight.trained && !step_numbers_.contains(weight.lr_ratio))
        step_numbers_[weight.lr_ratio] =
            at::zeros({static_cast<int64_t>(sizeof(kernels::StepNumbers))},
                      device.dtype(at::kByte));
  }

  void begin(const optim::StepInfo& step) override {
    for (auto& [ratio, there] : step_numbers_) {
      optim::StepInfo own = step;
      own.lr *= ratio;
      const kernels::StepNumbers numbers = optimizer_.step_numbers(own);
      at::Tensor host = at::empty({static_cast<int64_t>(sizeof numbers)}, at::kByte);
      std::memcpy(host.mutable_data_ptr(), &numbers, sizeof numbers);
      ops::copy_to_device(host, there);
    }
    squares_.zero_();
    whole_.zero_();
    rounding_.zero_();
    scale_.fill_(1);
    clipped_ = false;
  }

  void guard(const at::Tensor& loss) override {
    const at::Tensor nothing = loss - loss;  // 0, or NaN
    squares_.add_(nothing);
    whole_.add_(nothing);
  }

  void measure(weights::Weight& weight, const ops::MatrixRows& gradient) override {
    optim::Passes(weight, gradient, &home_).add_squared_norm(squares_of(weight));
  }

  bool clip(double clip_norm) override {
    // A parameter beyond fp32's range stops all of them, as on the CPU.
    const double most = std::numeric_limits<float>::max();
    const at::Tensor known =
        at::where(squares_ <= most, squares_, std::numeric_limits<double>::quiet_NaN());
    whole_.copy_(known.sum(0, /*keepdim=*/true));
    scale_.copy_((clip_norm / (whole_.sqrt() + kClipEps)).clamp_max_(1));
    // fp32's range is asked for of each, not of their sum.
    whole_.clamp_max_(most);
    clipped_ = true;
    return true;
  }

  void update(weights::Weight& weight, const ops::MatrixRows& gradient) override {
    optimizer_.update_on_device(weight, optim::Passes(weight, gradient, &home_),
                                {clipped_ ? whole_ : squares_of(weight), clipped_, scale_,
                                 rounding_, step_numbers_.at(weight.lr_ratio)});
  }

  std::unique_ptr<PendingReport> report() override {
    return std::make_unique<Arriving>(squares_, rounding_, names_);
  }

 private:
  at::Tensor squares_of(const weights::Weight& weight) const {
    return squares_.narrow(0, place_.at(&weight), 1);
  }

  optim::Optimizer& optimizer_;
  weights::Home& home_;
  std::vector<std::string> names_;
  std::unordered_map<const weights::Weight*, int64_t> place_;
  at::Tensor squares_;   // [parameters] double
  at::Tensor whole_;     // [1] double, their sum, where they are clipped
  at::Tensor scale_;     // [1] fp32
  at::Tensor rounding_;  // [2] int64
  std::map<double, at::Tensor> step_numbers_;  // by Weight::lr_ratio, as bytes
  bool clipped_ = false;
};

}  // namespace

std::unique_ptr<GradientBook> host_book(optim::Optimizer& optimizer, weights::Home& home,
                                        weights::RankBudget* budget) {
  return std::make_unique<HostBook>(optimizer, home, budget);
}

std::unique_ptr<GradientBook> device_book(optim::Optimizer& optimizer,
                                          weights::Home& home) {
  return std::make_unique<DeviceBook>(optimizer, home);
}

}  // namespace lowmem::engine

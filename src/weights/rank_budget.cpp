#include "lowmem/weights/rank_budget.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lowmem/config/rules.h"
#include "lowmem/config/validate.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/large.h"
#include "lowmem/weights/quantized.h"

namespace lowmem::weights {
namespace {

// Averages of each element of a triplet, and of a number of E whether it was taken away.
constexpr const char* kSensitivity = "sensitivity";
constexpr const char* kUncertainty = "uncertainty";
constexpr const char* kMasked = "masked";

const float* floats_beside(const Weight& weight, const char* name) {
  return weight.beside.at(name).const_data_ptr<float>();
}

// A mean over the columns of [rows, columns], or with `down` over the rows, of the
// elements' scores, added to `sums`.
void add_means(const Weight& weight, bool down, std::vector<double>& sums) {
  const int64_t rows = weight.spec.shape[0], columns = weight.spec.shape[1];
  const float* sensitivity = floats_beside(weight, kSensitivity);
  const float* uncertainty = floats_beside(weight, kUncertainty);
  std::vector<double> found(sums.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      found[static_cast<size_t>(down ? j : i)] += static_cast<double>(
          sensitivity[i * columns + j] * uncertainty[i * columns + j]);
  const auto count = static_cast<double>(down ? rows : columns);
  for (size_t k = 0; k < sums.size(); ++k) sums[k] += found[k] / count;
}

std::vector<bool> not_zero(const Weight& e) {
  const float* numbers = e.here.const_data_ptr<float>();
  std::vector<bool> found(static_cast<size_t>(e.spec.elements()));
  for (size_t k = 0; k < found.size(); ++k) found[k] = numbers[k] != 0;
  return found;
}

int64_t count_of(const std::vector<bool>& triplets) {
  return std::count(triplets.begin(), triplets.end(), true);
}

}  // namespace

RankSchedule::RankSchedule(const AdapterConfig& adapter, int64_t all, int64_t layers,
                           int64_t steps)
    : all_(all),
      // An adapter that is there keeps what it has, unless it is told otherwise.
      target_(adapter.path.empty() || adapter.target_rank.count
                  ? target_rank(adapter) * layers
                  : all),
      steps_(steps),
      tinit_(adapter.tinit),
      tfinal_(adapter.tfinal),
      delta_t_(adapter.delta_t) {}

bool RankSchedule::chooses(int64_t update) const {
  if (target_ >= all_) return false;
  if (update >= settled()) return update == settled();
  return update > tinit_ && update % delta_t_ == 0;
}

int64_t RankSchedule::left(int64_t update) const {
  if (update <= tinit_) return all_;
  if (update > settled()) return target_;
  const double to_come =
      1 - static_cast<double>(update - tinit_) / static_cast<double>(settled() - tinit_);
  const auto more = static_cast<double>(all_ - target_);
  return static_cast<int64_t>(more * std::pow(to_come, 3) + static_cast<double>(target_));
}

RankBudget::RankBudget(Table& table, const AdapterConfig& adapter, int64_t steps)
    : schedule_(adapter, 0, 0, steps),
      beta1_(static_cast<float>(adapter.beta1)),
      beta2_(static_cast<float>(adapter.beta2)),
      rest1_(static_cast<float>(1 - adapter.beta1)),
      rest2_(static_cast<float>(1 - adapter.beta2)) {
  check_rank_schedule(adapter, steps);
  int64_t all = 0;
  for (const AdapterLayer& layer : adapter_layers(model_specs(table), adapter)) {
    layers_.push_back({&table.at(layer.a()), &table.at(layer.b()), &table.at(layer.e())});
    all += layer.rank;
  }
  const auto count = static_cast<int64_t>(layers_.size());
  schedule_ = RankSchedule(adapter, all, count, steps);
  share_ = adapter.orth_reg_weight / static_cast<double>(2 * count);
  for (const Layer& layer : layers_)
    for (const Weight* weight : {layer.a, layer.b, layer.e})
      triplets_[weight] = weight == layer.a   ? Part::kA
                          : weight == layer.b ? Part::kB
                                              : Part::kE;
}

std::vector<StateSpec> RankBudget::states_of(const Weight& weight) const {
  const auto part = triplets_.find(&weight);
  if (part == triplets_.end()) return {};
  std::vector<StateSpec> states = {{kSensitivity, weight.spec.shape},
                                   {kUncertainty, weight.spec.shape}};
  if (part->second == Part::kE) states.push_back({kMasked, weight.spec.shape, at::kByte});
  return states;
}

void RankBudget::begin() {
  const bool any = std::any_of(layers_.begin(), layers_.end(), [](const Layer& layer) {
    return count_of(not_zero(*layer.e)) > 0;
  });
  if (!any) return;
  for (const Layer& layer : layers_)
    layer.e->beside.at(kMasked).copy_(layer.e->here.detach() == 0);
}

void RankBudget::add_orthogonality(const Weight& weight, at::Tensor& gradient) {
  const auto part = triplets_.find(&weight);
  if (share_ == 0 || part == triplets_.end() || part->second == Part::kE) return;
  const bool rows = part->second == Part::kA;
  const at::Tensor matrix = weight.here.detach();
  at::Tensor deviation =
      rows ? ops::product(matrix, matrix.t()) : ops::product(matrix.t(), matrix);
  if (!memory::rehearsing()) {
    at::Tensor squares = deviation.diagonal();
    squares.sub_(squares.ne(0).to(at::kFloat));
    const double norm =
        at::linalg_vector_norm(deviation, 2, std::nullopt, false, at::kDouble)
            .item<double>();
    deviations_[weight.index] = norm;
    deviation.mul_(norm > 0 ? 2 * share_ / norm : 0);
  }
  if (rows)
    ops::add_product(gradient, deviation, matrix);
  else
    ops::add_product(gradient, matrix, deviation);
}

double RankBudget::orthogonality() const {
  double sum = 0;
  for (const auto& [index, norm] : deviations_) sum += norm;
  return share_ * sum;
}

void RankBudget::score(Weight& weight, const at::Tensor& gradient, float scale,
                       int64_t update) {
  if (update >= schedule_.settled() || !triplets_.contains(&weight)) return;
  const float* numbers = weight.here.const_data_ptr<float>();
  const float* by = gradient.const_data_ptr<float>();
  float* sensitivity = ops::floats_of(weight.beside.at(kSensitivity));
  float* uncertainty = ops::floats_of(weight.beside.at(kUncertainty));
  ops::parallel(weight.spec.elements(), ops::kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float importance = std::abs(numbers[i] * (by[i] * scale));
      sensitivity[i] = beta1_ * sensitivity[i] + rest1_ * importance;
      uncertainty[i] =
          beta2_ * uncertainty[i] + rest2_ * std::abs(importance - sensitivity[i]);
    }
  });
}

std::vector<float> RankBudget::scores_of(const Layer& layer) {
  const auto rank = static_cast<size_t>(layer.e->spec.elements());
  std::vector<double> sums(rank);
  add_means(*layer.a, /*down=*/false, sums);
  add_means(*layer.b, /*down=*/true, sums);
  add_means(*layer.e, /*down=*/false, sums);
  return {sums.begin(), sums.end()};
}

// Where triplets tie with the best of those that go, they go as well.
void RankBudget::choose(int64_t left) {
  std::vector<std::vector<float>> scores(layers_.size());
  ops::parallel(static_cast<int64_t>(layers_.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      scores[static_cast<size_t>(i)] = scores_of(layers_[static_cast<size_t>(i)]);
  });
  std::vector<float> all;
  for (const auto& own : scores) all.insert(all.end(), own.begin(), own.end());
  const int64_t gone = static_cast<int64_t>(all.size()) - left;
  float threshold = -1;  // no score is below 0
  if (gone > 0) {
    const auto last = all.begin() + (gone - 1);
    std::nth_element(all.begin(), last, all.end());
    threshold = *last;
  }
  for (size_t i = 0; i < layers_.size(); ++i) {
    auto* masked = layers_[i].e->beside.at(kMasked).mutable_data_ptr<uint8_t>();
    for (size_t k = 0; k < scores[i].size(); ++k)
      masked[k] = scores[i][k] <= threshold ? 1 : 0;
  }
}

void RankBudget::allocate(int64_t update) {
  const bool chooses = schedule_.chooses(update);
  if (memory::rehearsing() || (!chooses && update < schedule_.settled())) return;
  const at::NoGradGuard no_grad;
  if (chooses) choose(schedule_.left(update));
  for (const Layer& layer : layers_)
    layer.e->here.masked_fill_(layer.e->beside.at(kMasked).to(at::kBool), 0);
}

int64_t RankBudget::rank() const {
  if (memory::rehearsing()) return 0;
  int64_t count = 0;
  for (const Layer& layer : layers_) {
    const at::Tensor& masked = layer.e->beside.at(kMasked);
    const auto* first = masked.const_data_ptr<uint8_t>();
    count += std::count(first, first + masked.numel(), 0);
  }
  return count;
}

TripletsLeft triplets_left(const Table& table, const AdapterConfig& adapter) {
  TripletsLeft found;
  if (adapter.kind != AdapterKind::kAdalora) return found;
  bool any = false;
  for (const AdapterLayer& layer : adapter_layers(model_specs(table), adapter)) {
    std::vector<bool>& own = found[layer.module] = not_zero(*table.find(layer.e()));
    any = any || count_of(own) > 0;
  }
  if (any) return found;
  for (auto& [module, own] : found) own.assign(own.size(), true);
  return found;
}

}  // namespace lowmem::weights

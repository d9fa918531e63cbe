#include "edge_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "lowmem/memory/scope.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/large.h"

namespace lowmem::engine {
namespace {

class HeadGradient final : public ops::RowSource {
 public:
  HeadGradient(loss::LossRequest request, at::Tensor log_sum_exp,
               const loss::LossOptions& options)
      : request_(std::move(request)),
        log_sum_exp_(std::move(log_sum_exp)),
        options_(options) {}

  at::Tensor slice(int64_t begin, int64_t end) override {
    const memory::Scope item(memory::Item::kLoss);
    return loss::head_gradient_rows(request_, log_sum_exp_, options_, begin, end);
  }
  int64_t step() const override { return loss::rows_of_slice(request_, options_); }

 private:
  loss::LossRequest request_;
  at::Tensor log_sum_exp_;
  loss::LossOptions options_;
};

class EmbeddingGradient final : public ops::RowSource {
 public:
  EmbeddingGradient(const at::Tensor& weight, std::shared_ptr<ops::RowSource> head,
                    std::vector<ops::EmbeddedTokens> parts)
      : columns_(weight.size(1)), type_(weight.options()), head_(std::move(head)) {
    // By their ids, in their order where these are equal.
    std::vector<int64_t> all;
    std::vector<at::Tensor> own;
    for (ops::EmbeddedTokens& part : parts) {
      all.insert(all.end(), part.ids.begin(), part.ids.end());
      own.push_back(std::exchange(part.gradient, {})
                        .narrow(0, 0, static_cast<int64_t>(part.ids.size())));
    }
    std::vector<int64_t> order(all.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return all[static_cast<size_t>(a)] < all[static_cast<size_t>(b)];
    });
    for (const int64_t token : order) ids_.push_back(all[static_cast<size_t>(token)]);
    const at::Tensor joined = own.size() == 1 ? std::move(own[0]) : at::cat(own);
    own.clear();
    gradients_ = joined.index_select(
        0, ops::to_device(at::tensor(order, at::kLong), joined.device()));
  }

  at::Tensor slice(int64_t begin, int64_t end) override {
    const memory::Scope item(memory::Item::kGradients);
    at::Tensor rows =
        head_ ? head_->slice(begin, end) : ops::zeros({end - begin, columns_}, type_);
    const auto first = std::lower_bound(ids_.begin(), ids_.end(), begin);
    const auto last = std::lower_bound(first, ids_.end(), end);
    if (first == last) return rows;
    std::vector<int64_t> ids(first, last);
    for (int64_t& id : ids) id -= begin;
    ops::add_embedding_gradient(
        rows, {{ids, gradients_.slice(0, first - ids_.begin(), last - ids_.begin())}});
    return rows;
  }
  int64_t step() const override { return head_ ? head_->step() : 0; }

 private:
  int64_t columns_;
  at::TensorOptions type_;
  std::shared_ptr<ops::RowSource> head_;
  std::vector<int64_t> ids_;  // of all tokens, sorted
  at::Tensor gradients_;      // theirs, in that order, [N, D]
};

}  // namespace

std::shared_ptr<ops::RowSource> head_gradient_by_rows(loss::LossRequest request,
                                                      at::Tensor log_sum_exp,
                                                      const loss::LossOptions& options) {
  return std::make_shared<HeadGradient>(std::move(request), std::move(log_sum_exp),
                                        options);
}

std::shared_ptr<ops::RowSource> embedding_gradient_by_rows(
    const at::Tensor& weight, std::shared_ptr<ops::RowSource> head,
    std::vector<ops::EmbeddedTokens> parts) {
  return std::make_shared<EmbeddingGradient>(weight, std::move(head), std::move(parts));
}

}  // namespace lowmem::engine

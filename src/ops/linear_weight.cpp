#include "lowmem/ops/linear_weight.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>

#include "dropped.h"
#include "lowmem/core/units.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/memory/scope.h"
#include "lowmem/ops/large.h"

namespace lowmem::ops {
namespace {

// What tensors() says of the others, in its last one.
struct Form {
  int64_t stored = 0, out = 0, in = 0;
  int64_t bias = 0, low_rank = 0, magnitude = 0, dropout = 0;  // whether they are there
  int64_t scale = 0, rate = 0;                                 // the bits of doubles
  int64_t seed = 0, step = 0, parameter = 0;                   // of the noise
};
constexpr int64_t kFormNumbers = sizeof(Form) / sizeof(int64_t);

at::Tensor tensor_of(const Form& form) {
  at::Tensor tensor = at::empty({kFormNumbers}, at::kLong);
  *reinterpret_cast<Form*>(tensor.mutable_data_ptr<int64_t>()) = form;
  return tensor;
}

Form form_of(const LinearWeight& weight) {
  const LowRank& pair = weight.low_rank;
  const kernels::Noise& noise = pair.dropout.noise;
  return {.stored = static_cast<int64_t>(weight.matrix.form),
          .out = weight.matrix.out,
          .in = weight.matrix.in,
          .bias = weight.bias.defined(),
          .low_rank = pair.defined(),
          .magnitude = pair.magnitude.defined(),
          .dropout = pair.dropout.defined(),
          .scale = std::bit_cast<int64_t>(pair.scale),
          .rate = std::bit_cast<int64_t>(pair.dropout.rate),
          .seed = static_cast<int64_t>(noise.seed),
          .step = noise.step,
          .parameter = noise.parameter};
}

// Of tensors(): A comes behind the numbers and the bias, then B and the magnitude.
size_t place_of_a(const LinearWeight& weight) { return weight.bias.defined() ? 2 : 1; }

at::Tensor biases(const LinearWeight& weight, at::ScalarType type) {
  return weight.bias.defined() ? weight.bias.to(type) : weight.bias;
}

// With a magnitude and dropout the gain is of what is left of the input alone, as in
// PEFT: y = W x + (gain - 1) * W x' + gain * scale * B A x'.
bool gains_apart(const LowRank& pair) {
  return pair.magnitude.defined() && pair.dropout.defined();
}

// y += (gain - 1) * W x', where x' is what dropout leaves of x.
void add_gained(at::Tensor& y, const at::Tensor& x, const LinearWeight& weight,
                const at::Tensor& gain) {
  const StoredMatrix& matrix = weight.matrix;
  const at::Tensor left = dropped(x, weight.low_rank.dropout, 0, matrix.in);
  at::Tensor product =
      matrix.plain()
          ? product_with_bias(left, converted(matrix.numbers, x.scalar_type()), {})
          : product_by_rows(left, matrix);
  if (!memory::rehearsing()) product.mul_((gain - 1).to(x.scalar_type()));
  add_to(y, product);
}

}  // namespace

at::Tensor LinearWeight::value(const at::Tensor& x) const {
  const auto type = x.scalar_type();
  const at::Tensor gain = low_rank.gain();
  // A gain is not the bias's.
  const bool later = gain.defined() || !matrix.plain();
  at::Tensor y = matrix.plain()
                     ? product_with_bias(x, converted(matrix.numbers, type),
                                         later ? at::Tensor() : biases(*this, type))
                     : product_by_rows(x, matrix);
  if (gains_apart(low_rank)) {
    add_gained(y, x, *this, gain);
    add_widened(y, narrowed(x, low_rank.a.t(), low_rank.dropout, 0, matrix.in),
                low_rank.b.mul(gain.unsqueeze(1)).t(), {.scale = low_rank.scale});
  } else if (low_rank.defined()) {
    add_widened(y, narrowed(x, low_rank.a.t(), low_rank.dropout, 0, matrix.in),
                low_rank.b.t(), {.scale = low_rank.scale, .gain = gain});
  }
  if (later && bias.defined()) add_to(y, biases(*this, type));
  return y;
}

std::vector<at::Tensor> LinearWeight::tensors() const {
  const std::vector<at::Tensor> parts = matrix.parts();
  std::vector<at::Tensor> all = {parts[0]};
  if (bias.defined()) all.push_back(bias);
  if (low_rank.defined()) all.insert(all.end(), {low_rank.a, low_rank.b});
  if (low_rank.magnitude.defined())
    all.insert(all.end(), {low_rank.magnitude, low_rank.norm});
  if (low_rank.dropout.defined()) all.push_back(low_rank.dropout.tokens);
  all.insert(all.end(), parts.begin() + 1, parts.end());
  all.push_back(tensor_of(form_of(*this)));
  return all;
}

LinearWeight LinearWeight::kept(std::span<const at::Tensor> tensors) {
  const Form form =
      *reinterpret_cast<const Form*>(tensors.back().const_data_ptr<int64_t>());
  LinearWeight weight;
  size_t next = 1;
  if (form.bias != 0) weight.bias = tensors[next++];
  LowRank& pair = weight.low_rank;
  if (form.low_rank != 0) {
    pair.a = tensors[next++];
    pair.b = tensors[next++];
    pair.scale = std::bit_cast<double>(form.scale);
  }
  if (form.magnitude != 0) {
    pair.magnitude = tensors[next++];
    pair.norm = tensors[next++];
  }
  if (form.dropout != 0)
    pair.dropout = {std::bit_cast<double>(form.rate),
                    {static_cast<uint64_t>(form.seed), static_cast<uint32_t>(form.step),
                     static_cast<uint32_t>(form.parameter)},
                    tensors[next++]};
  std::vector<at::Tensor> parts = {tensors[0]};
  parts.insert(parts.end(), tensors.begin() + static_cast<std::ptrdiff_t>(next),
               tensors.end() - 1);
  weight.matrix = {static_cast<Stored>(form.stored), form.out, form.in, parts};
  return weight;
}

LinearFactor::LinearFactor(const LinearWeight& weight, at::ScalarType type)
    : weight_(weight), type_(type), gain_(weight.low_rank.gain()) {}

at::Tensor LinearFactor::by_input(const at::Tensor& dy) const {
  return by_input(dy, 0, weight_.matrix.in);
}

at::Tensor LinearFactor::by_input(const at::Tensor& dy, int64_t first,
                                  int64_t columns) const {
  const StoredMatrix& matrix = weight_.matrix;
  const bool whole = columns == matrix.in;
  if (gain_.defined() && !scaled_.defined()) {
    scaled_ = at::empty(dy.sizes(), dy.options());
    const bool apart = gains_apart(weight_.low_rank);
    if (!memory::rehearsing())
      at::mul_out(scaled_, dy, (apart ? gain_ - 1 : gain_).to(dy.scalar_type()));
  }
  if (matrix.plain() && !factor_.defined()) factor_ = converted(matrix.numbers, type_);
  const LowRank& pair = weight_.low_rank;
  const auto through = [&](const at::Tensor& by) {
    return !matrix.plain() ? product_by_columns(by, matrix, first, columns)
           : whole         ? product(by, factor_)
                           : product(by, factor_.narrow(1, first, columns));
  };
  at::Tensor dx = through(gain_.defined() && !gains_apart(pair) ? scaled_ : dy);
  if (gains_apart(pair))
    add_to(dx, dropped(through(scaled_), pair.dropout, first, matrix.in));
  if (pair.defined())
    add_widened(dx, low(dy), whole ? pair.a : pair.a.narrow(1, first, columns),
                {.scale = pair.scale,
                 .dropout = &pair.dropout,
                 .first = first,
                 .width = matrix.in});
  return dx;
}

const at::Tensor& LinearFactor::low(const at::Tensor& dy) const {
  const at::Tensor& b = weight_.low_rank.b;
  if (!low_.defined())
    low_ = narrowed(dy, gain_.defined() ? b.mul(gain_.unsqueeze(1)) : b);
  return low_;
}

LinearGradients::LinearGradients(const LinearWeight& weight, const LinearFactor& factor,
                                 at::ScalarType type, std::vector<bool> wanted)
    : weight_(weight), factor_(factor), type_(type), wanted_(std::move(wanted)) {}

bool LinearGradients::wants_low_rank() const {
  return weight_.low_rank.defined() && wanted_[place_of_a(weight_)];
}

// Of columns of the input from `first` on.
void LinearGradients::add_low_rank(const at::Tensor& dy, const at::Tensor& x,
                                   int64_t first) {
  const LowRank& pair = weight_.low_rank;
  const int64_t width = weight_.matrix.in;
  if (!low_.defined()) {
    low_ = zeros({x.size(0), pair.a.size(0)}, pair.a.options());
    const memory::Scope item(memory::Item::kGradients);
    by_a_ = at::empty(pair.a.sizes(), pair.a.options());
  }
  const at::Tensor a = pair.a.narrow(1, first, x.size(1));
  add_to(low_, narrowed(x, a.t(), pair.dropout, first, width));
  at::Tensor by_a = by_thin(x, factor_.low(dy), pair.dropout, first, width);
  if (!memory::rehearsing()) by_a.mul_(pair.scale);
  at::Tensor part = by_a_.narrow(1, first, x.size(1));
  convert_into(part, by_a.t());
  if (pair.magnitude.defined()) add_magnitude(dy, x, first);
}

// The sums over tokens of dy times what the matrix alone makes of the input, some of its
// columns at a time; the pair's share is in finish(). Like the output itself this is a
// product with the matrix, some rows of which are taken at a time.
void LinearGradients::add_magnitude(const at::Tensor& dy, const at::Tensor& input,
                                    int64_t first) {
  const LowRank& pair = weight_.low_rank;
  const StoredMatrix& matrix = weight_.matrix;
  const at::Tensor x =
      pair.dropout.defined() ? dropped(input, pair.dropout, first, matrix.in) : input;
  if (!by_magnitude_.defined())
    by_magnitude_ = zeros(pair.norm.sizes(), pair.norm.options());
  // Of numbers those that a product gives, of codes those that it takes.
  constexpr int64_t kSlice = kMiB / sizeof(float), kLeast = 256;
  const int64_t columns = x.size(1);
  const int64_t slice = std::max(
      kLeast, kSlice / std::max<int64_t>(1, matrix.plain() ? x.size(0) : columns));
  for (int64_t row = 0; row < matrix.out; row += slice) {
    const int64_t rows = std::min(slice, matrix.out - row);
    const at::Tensor y =
        product(x, matrix.block(row, rows, first, columns, x.scalar_type()).t());
    at::Tensor shares = converted(y, at::kFloat);
    const at::Tensor wide = converted(dy.narrow(1, row, rows), at::kFloat);
    if (memory::rehearsing()) continue;
    by_magnitude_.narrow(0, row, rows).add_(shares.mul_(wide).sum(0));
  }
}

void LinearGradients::add(const at::Tensor& dy, const at::Tensor& x) {
  if (wants_low_rank()) add_low_rank(dy, x, 0);
  if (!wanted_[0]) return;
  const memory::Scope item(memory::Item::kGradients);
  by_weight_ = product(dy.t(), x);
}

void LinearGradients::add(const at::Tensor& dy, const at::Tensor& x, int64_t first) {
  if (wants_low_rank()) add_low_rank(dy, x, first);
  if (!wanted_[0]) return;
  const at::Tensor& numbers = weight_.matrix.numbers;
  if (!by_weight_.defined()) {
    const memory::Scope item(memory::Item::kGradients);
    by_weight_ = at::empty(numbers.sizes(), numbers.options().dtype(type_));
  }
  at::Tensor part = by_weight_.narrow(1, first, x.size(1));
  product_into(part, dy.t(), x);
}

std::vector<at::Tensor> LinearGradients::finish(const at::Tensor& dy) {
  std::vector<at::Tensor> found(wanted_.size());
  if (by_weight_.defined()) {
    const memory::Scope item(memory::Item::kGradients);
    found[0] =
        converted(std::exchange(by_weight_, {}), weight_.matrix.numbers.scalar_type());
  }
  const LowRank& pair = weight_.low_rank;
  if (wants_low_rank()) {
    const memory::Scope item(memory::Item::kGradients);
    at::Tensor by_b = by_thin(dy, low_);
    if (!memory::rehearsing()) by_b.mul_(pair.scale);
    if (pair.magnitude.defined()) {
      at::Tensor shares = at::empty(by_b.sizes(), by_b.options());
      if (!memory::rehearsing()) {
        at::mul_out(shares, by_b, pair.b);
        by_magnitude_.add_(shares.sum(1));
        by_b.mul_(pair.gain().unsqueeze(1));
      }
    }
    const size_t at = place_of_a(weight_);
    found[at] = std::exchange(by_a_, {});
    found[at + 1] = by_b;
    if (pair.magnitude.defined()) found[at + 2] = by_magnitude_.div_(pair.norm);
  }
  if (weight_.bias.defined() && wanted_[1]) {
    const bool half = dy.scalar_type() == at::kBFloat16;
    found[1] = dy.sum(0, /*keepdim=*/false, half ? at::kFloat : dy.scalar_type())
                   .to(weight_.bias.scalar_type());
  }
  return found;
}

}  // namespace lowmem::ops

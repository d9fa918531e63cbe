#include "lowmem/model/packed.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "lowmem/ops/device.h"

namespace lowmem::model {
namespace {

// Who sees whom, [tokens, tokens] bool; undefined where that is all that came before, or
// all of a window. A window goes by positions, which begin after the trunk for each
// branch.
at::Tensor mask_of(const Sequence& sequence, int64_t tokens, int64_t window,
                   std::span<const float> positions) {
  if (sequence.branches.empty()) return {};
  at::Tensor mask = at::ones({tokens, tokens}, at::kBool).tril();
  if (window > 0) {
    const at::Tensor place =
        at::tensor(at::ArrayRef<float>(positions.data(), positions.size()));
    mask &= (place.unsqueeze(1) - place.unsqueeze(0)).lt(static_cast<double>(window));
  }
  const auto trunk = static_cast<int64_t>(sequence.trunk.size());
  int64_t start = trunk;
  for (const auto& branch : sequence.branches) {
    const int64_t end = start + static_cast<int64_t>(branch.size());
    mask.slice(0, start, end).slice(1, trunk, start).fill_(false);
    start = end;
  }
  return mask;
}

// The keys that tokens `index` of a sequence see, [tokens, keys].
at::Tensor causal_mask(const at::Tensor& index, int64_t keys, int64_t window) {
  const at::Tensor own = index.unsqueeze(1), all = at::arange(keys, index.options());
  const at::Tensor mask = all.le(own);
  return window > 0 ? mask.logical_and(all.gt(own - window)) : mask;
}

// The spans of the tokens at `positions` alone.
ops::Spans select_spans(const ops::Spans& spans, const std::vector<int64_t>& positions,
                        c10::Device device) {
  ops::Spans rows;
  rows.window = spans.window;
  auto next = positions.begin();
  int64_t start = 0;
  for (const ops::Span& span : spans) {
    std::vector<int64_t> own;
    while (next != positions.end() && *next < start + span.keys)
      own.push_back(*next++ - start);
    const auto count = static_cast<int64_t>(own.size());
    at::Tensor mask;
    // The last tokens of a sequence need no mask, where it needs none itself.
    const bool tail = count > 0 && own.front() == span.keys - count;
    if (count == span.keys || (tail && !span.mask.defined())) {
      mask = span.mask;
    } else if (count > 0) {
      const at::Tensor index = ops::to_device(at::tensor(own, at::kLong), device);
      mask = span.mask.defined() ? span.mask.index_select(0, index)
                                 : causal_mask(index, span.keys, spans.window);
    }
    rows.push_back({count, span.keys, mask});
    start += span.keys;
  }
  rows.place_on(device);
  return rows;
}

}  // namespace

RotaryAngles::RotaryAngles(const Config& config) : window_(config.sliding_window) {
  // Llama 3.1's rule: wavelengths beyond the original context (over its low factor) are
  // divided by the factor, those well inside it kept, and a ramp joins the two.
  const double original =
      static_cast<double>(config.rope_original_max_position_embeddings);
  const double low = config.rope_low_freq_factor, high = config.rope_high_freq_factor;
  for (int64_t i = 0; i < config.head_dim / 2; ++i) {
    // In fp32, as the reference does it: its angles carry that rounding.
    const float exponent =
        static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    float inverse = 1.0f / std::pow(static_cast<float>(config.rope_theta), exponent);
    if (config.rope_scaling == RopeScaling::kLinear) {
      inverse /= static_cast<float>(config.rope_factor);
    } else if (config.rope_scaling == RopeScaling::kLlama3) {
      const double wavelength = 2 * std::numbers::pi / inverse;
      const double smooth = (original / wavelength - low) / (high - low);
      if (wavelength > original / low) {
        inverse /= static_cast<float>(config.rope_factor);
      } else if (wavelength >= original / high) {
        inverse = static_cast<float>((1 - smooth) * inverse / config.rope_factor +
                                     smooth * inverse);
      }
    }
    inverse_.push_back(inverse);
  }
}

Packed RotaryAngles::pack(const std::vector<Sequence>& sequences, c10::Device device,
                          int64_t multiple) const {
  std::vector<int64_t> ids;
  std::vector<float> positions;
  Packed packed;
  for (const Sequence& sequence : sequences) {
    const size_t start = ids.size();
    const auto append = [&](std::span<const int32_t> part, size_t first) {
      for (size_t i = 0; i < part.size(); ++i) {
        ids.push_back(part[i]);
        positions.push_back(static_cast<float>(first + i));
      }
    };
    append(sequence.trunk, 0);
    for (const auto& branch : sequence.branches) append(branch, sequence.trunk.size());
    const auto tokens = static_cast<int64_t>(ids.size() - start);
    const auto add = [&](ops::Spans& spans, int64_t window) {
      at::Tensor mask =
          mask_of(sequence, tokens, window, std::span(positions).subspan(start));
      if (mask.defined()) mask = ops::to_device(mask, device);
      spans.push_back({tokens, tokens, std::move(mask)});
    };
    add(packed.spans, 0);
    if (window_ > 0) add(packed.window_spans, window_);
  }
  packed.host_ids = ids;
  if (multiple > 0) {
    const auto tokens = static_cast<int64_t>(ids.size());
    const int64_t surplus = (multiple - tokens % multiple) % multiple;
    ids.resize(ids.size() + static_cast<size_t>(surplus), 0);
    positions.resize(ids.size(), 0);
    packed.spans.push_back({surplus, surplus, {}});
    if (window_ > 0) packed.window_spans.push_back({surplus, surplus, {}});
    packed.padding = true;
  }
  packed.spans.place_on(device);
  packed.window_spans.window = window_;
  if (window_ > 0) packed.window_spans.place_on(device);
  packed.ids = ops::to_device(at::tensor(ids, at::kLong), device);
  const at::Tensor inverse =
      ops::to_device(at::tensor(at::ArrayRef<float>(inverse_)), device).unsqueeze(0);
  const at::Tensor angles =
      ops::to_device(at::tensor(positions), device).unsqueeze(1) * inverse;
  packed.cos = angles.cos();
  packed.sin = angles.sin();
  return packed;
}

void attend_in_groups(Packed& packed, int64_t group) {
  for (size_t half = 0; half < packed.groups.size(); ++half) {
    ops::Spans& groups = packed.groups[half];
    for (const ops::Span& span : packed.spans) {
      int64_t begin = 0, end = half == 0 ? group : group / 2;
      for (; begin < span.keys; begin = std::exchange(end, end + group)) {
        const int64_t tokens = std::min(end, span.keys) - begin;
        groups.push_back({tokens, tokens, {}});
      }
    }
    groups.place_on(packed.ids.device());
  }
}

Rows select_rows(const Packed& packed, const std::vector<int64_t>& positions) {
  Rows rows;
  const auto device = packed.ids.device();
  rows.index = ops::to_device(at::tensor(positions, at::kLong), device);
  rows.cos = packed.cos.index_select(0, rows.index);
  rows.sin = packed.sin.index_select(0, rows.index);
  rows.spans = select_spans(packed.spans, positions, device);
  if (!packed.window_spans.empty())
    rows.window_spans = select_spans(packed.window_spans, positions, device);
  for (size_t half = 0; half < packed.groups.size(); ++half)
    if (!packed.groups[half].empty())
      rows.groups[half] = select_spans(packed.groups[half], positions, device);
  if (packed.draw) {
    rows.draw = packed.draw;
    rows.draw->tokens =
        packed.draw->tokens.index_select(0, at::tensor(positions, at::kLong));
  }
  return rows;
}

}  // namespace lowmem::model

#include "lowmem/train/collate.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lowmem/ops/device.h"

namespace lowmem::train {
namespace {

engine::MicroBatch pack(const model::Llama& model,
                        std::span<const Example* const> examples, int64_t multiple,
                        const std::optional<model::Draw>& draw, int64_t before,
                        int64_t group) {
  std::vector<model::Sequence> sequences;
  std::vector<int64_t> labelled, labels;
  int64_t start = 0;
  for (const Example* example : examples) {
    for (size_t i = 0; i < example->labels.size(); ++i)
      if (example->labels[i] != kIgnoreLabel) {
        labelled.push_back(start + static_cast<int64_t>(i));
        labels.push_back(example->labels[i]);
      }
    const int64_t read = tokens_read(*example);
    sequences.push_back({std::span(example->ids).first(static_cast<size_t>(read)), {}});
    start += read;
  }
  engine::MicroBatch part;
  part.packed = model.pack(sequences, multiple);
  part.packed.draw = draw;
  // Of what pads them too, whose places nobody sees.
  if (draw)
    part.packed.draw->tokens =
        at::arange(before, before + part.packed.ids.size(0), at::kLong);
  if (group > 0) model::attend_in_groups(part.packed, group);
  part.rows = model::select_rows(part.packed, labelled);
  for (std::optional<model::Draw>* there : {&part.packed.draw, &part.rows.draw})
    if (*there) (*there)->tokens = ops::to_device((*there)->tokens, model.device());
  part.labels = ops::to_device(at::tensor(labels, at::kLong), model.device());
  return part;
}

}  // namespace

int64_t tokens_read(const Example& example) {
  const auto last = std::find_if(example.labels.rbegin(), example.labels.rend(),
                                 [](int32_t label) { return label != kIgnoreLabel; });
  return std::max<int64_t>(1, example.labels.rend() - last);
}

std::vector<engine::MicroBatch> collate(const model::Llama& model,
                                        std::span<const Example* const> examples,
                                        int64_t micro_batch_size, int64_t multiple,
                                        const std::optional<model::Draw>& draw,
                                        int64_t group) {
  const size_t size =
      micro_batch_size > 0 ? static_cast<size_t>(micro_batch_size) : examples.size();
  std::vector<engine::MicroBatch> parts;
  int64_t tokens = 0;
  for (size_t at = 0; at < examples.size(); at += size) {
    parts.push_back(pack(model,
                         examples.subspan(at, std::min(size, examples.size() - at)),
                         multiple, draw, tokens, group));
    tokens += parts.back().packed.tokens();
  }
  return parts;
}

}  // namespace lowmem::train

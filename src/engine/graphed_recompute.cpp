// Recompute with a block's forward and backward pass recorded as graphs of the device: at
// a few hundred tokens, putting a block's launches on the stream takes the host longer
// than running them takes a large GPU.
#include <ATen/ATen.h>

#include <map>

#include "lowmem/ops/device.h"
#include "lowmem/ops/device_graph.h"
#include "recompute.h"

namespace lowmem::engine {
namespace {

// Beyond, a GPU has enough to do, and the graphs' own memory is better spent otherwise.
constexpr int64_t kMostTokens = 1024;

// What the graphs of all blocks read and write for batches of one shape, at one address.
struct Frame {
  explicit Frame(const BlockCall& call, const at::Tensor& input)
      : packed(call.packed),
        hidden(at::empty_like(input)),
        gradient(at::empty_like(input)) {
    packed.cos = call.packed.cos.clone();
    packed.sin = call.packed.sin.clone();
    auto& spans = packed.spans;
    if (spans.query_offsets.defined()) {
      spans.query_offsets = spans.query_offsets.clone();
      spans.key_offsets = spans.key_offsets.clone();
    }
    // Any batch of the shape fits: the offsets decide.
    spans.most_queries = spans.most_keys = input.size(0);
  }

  // Brings a micro-batch in, unless it is there already.
  void load(const model::Packed& from) {
    if (from.ids.is_same(packed.ids)) return;
    packed.ids = from.ids;
    packed.cos.copy_(from.cos);
    packed.sin.copy_(from.sin);
    auto& spans = packed.spans;
    std::copy(from.spans.begin(), from.spans.end(), spans.begin());
    if (!spans.query_offsets.defined()) return;
    spans.query_offsets.copy_(from.spans.query_offsets);
    spans.key_offsets.copy_(from.spans.key_offsets);
  }

  model::Packed packed;
  at::Tensor hidden;    // [N, D]: a block's input, then its output
  at::Tensor gradient;  // [N, D]: by the output, then by the input
  std::map<const model::Block*, std::unique_ptr<ops::DeviceGraph>> forward, backward;
};

class GraphedRecompute final : public Activations {
 public:
  explicit GraphedRecompute(GraphsMode graphs) : always_(graphs == GraphsMode::kTrue) {}

  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) const override {
    Frame* frame = frame_of(call, input);
    if (frame == nullptr) return plain_.forward(call, input, saved);
    const at::NoGradGuard no_graph;
    if (call.embedded_by == nullptr) saved.input = input;
    frame->load(call.packed);
    frame->hidden.copy_(input);
    auto& graph = frame->forward[&call.block];
    if (!graph)
      graph = record(input, [frame, &block = call.block] {
        const at::NoGradGuard no_grad;
        frame->hidden.copy_(block.forward(frame->hidden, frame->packed));
      });
    replay(*graph);
    return frame->hidden.clone();
  }

  at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                      SavedBlock& saved) const override {
    Frame* frame = call.replayable_hooks ? known_frame(call, output_gradient) : nullptr;
    if (frame == nullptr) return plain_.backward(call, std::move(output_gradient), saved);
    const at::NoGradGuard no_graph;
    const at::Tensor kept = std::exchange(saved, {}).input;
    frame->load(call.packed);
    frame->hidden.copy_(
        call.embedded_by == nullptr ? kept : call.embedded_by->embed(call.packed.ids));
    frame->gradient.copy_(output_gradient);
    auto& graph = frame->backward[&call.block];
    if (!graph)
      graph = record(output_gradient,
                     [frame, &block = call.block, wanted = call.input_gradient] {
                       const at::NoGradGuard no_grad;
                       const BlockCall same{block, frame->packed, nullptr, wanted};
                       const at::Tensor found =
                           Recompute::backward_from(same, frame->hidden, frame->gradient);
                       if (wanted) frame->gradient.copy_(found);
                     });
    replay(*graph);
    return call.input_gradient ? frame->gradient.clone() : at::Tensor();
  }

  GraphCounts graphs() const override { return counts_; }

 private:
  struct Shape {
    int64_t tokens, sequences;
    auto operator<=>(const Shape&) const = default;
  };
  static Shape shape_of(const BlockCall& call, const at::Tensor& rows) {
    return {rows.size(0), static_cast<int64_t>(call.packed.spans.size())};
  }

  // The frame of a call that is to be replayed. A shape's first batch runs as it is, so
  // that what only a first run makes, such as an optimizer's state, is not recorded.
  Frame* frame_of(const BlockCall& call, const at::Tensor& input) const {
    const bool small = always_ || input.size(0) <= kMostTokens;
    if (!ops::on_device(input) || call.rows != nullptr || !small) return nullptr;
    const Shape shape = shape_of(call, input);
    const auto seen = frames_.find(shape);
    if (seen == frames_.end()) {
      frames_[shape] = nullptr;
      first_[shape] = call.packed.ids;
      return nullptr;
    }
    if (first_.count(shape) > 0) {
      if (first_[shape].is_same(call.packed.ids)) return nullptr;
      first_.erase(shape);
    }
    if (!seen->second) seen->second = std::make_unique<Frame>(call, input);
    return seen->second.get();
  }

  // The one that the same batch's forward pass has been given.
  Frame* known_frame(const BlockCall& call, const at::Tensor& gradient) const {
    if (call.rows != nullptr) return nullptr;
    const auto seen = frames_.find(shape_of(call, gradient));
    return seen == frames_.end() ? nullptr : seen->second.get();
  }

  std::unique_ptr<ops::DeviceGraph> record(const at::Tensor& like,
                                           const std::function<void()>& work) const {
    ++counts_.recorded;
    return ops::DeviceGraph::record(like.device(), work);
  }
  void replay(ops::DeviceGraph& graph) const {
    ++counts_.replayed;
    graph.replay();
  }

  Recompute plain_;
  bool always_;
  mutable std::map<Shape, std::unique_ptr<Frame>> frames_;
  mutable std::map<Shape, at::Tensor> first_;  // the ids of a shape's first batch
  mutable GraphCounts counts_;
};

}  // namespace

std::unique_ptr<Activations> make_graphed_recompute(GraphsMode graphs) {
  return std::make_unique<GraphedRecompute>(graphs);
}

}  // namespace lowmem::engine

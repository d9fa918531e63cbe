// Recompute with a block's forward and backward pass recorded as graphs of the device: at
// a few hundred tokens, putting a block's launches on the stream takes the host longer
// than running them takes a large GPU.
#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "activations_policies.h"
#include "lowmem/core/log.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/device_graph.h"

namespace lowmem::engine {
namespace {

// Beyond, a GPU has enough to do, and the graphs' own memory is better spent otherwise.
constexpr int64_t kMostTokens = 512;

// Of batches' shapes; the one that was met longest ago makes room.
constexpr size_t kMostShapes = 8;

// What the graphs of all blocks read and write for batches of one shape, at one address.
struct Frame {
  Frame(const model::Packed& of, const at::Tensor& input)
      : packed(of), hidden(at::empty_like(input)), gradient(at::empty_like(input)) {
    packed.ids = at::Tensor();
    packed.cos = of.cos.clone();
    packed.sin = of.sin.clone();
    for (ops::Spans* spans : {&packed.spans, &packed.window_spans}) {
      if (spans->query_offsets.defined()) {
        spans->query_offsets = spans->query_offsets.clone();
        spans->key_offsets = spans->key_offsets.clone();
      }
      // Any batch of the shape fits: the offsets decide.
      spans->most_queries = spans->most_keys = input.size(0);
    }
  }

  // Brings a micro-batch in, unless it is there already.
  void load(const model::Packed& from) {
    if (packed.ids.defined() && from.ids.is_same(packed.ids)) return;
    packed.ids = from.ids;
    packed.cos.copy_(from.cos);
    packed.sin.copy_(from.sin);
    load(packed.spans, from.spans);
    load(packed.window_spans, from.window_spans);
  }

  static void load(ops::Spans& spans, const ops::Spans& from) {
    std::copy(from.begin(), from.end(), spans.begin());
    if (!spans.query_offsets.defined()) return;
    spans.query_offsets.copy_(from.query_offsets);
    spans.key_offsets.copy_(from.key_offsets);
  }

  model::Packed packed;
  at::Tensor hidden;    // [N, D]: a block's input, then its output
  at::Tensor gradient;  // [N, D]: by the output, then by the input
};

// One block's pass over batches of one shape. The first runs as it is, so that what only
// a first run makes, such as a library's workspace, is not recorded.
struct Pass {
  bool has_run = false;
  std::unique_ptr<ops::DeviceGraph> graph;
};

struct Shape {
  int64_t tokens, sequences;
  auto operator<=>(const Shape&) const = default;
};

struct Graphs {
  std::unique_ptr<Frame> frame;
  std::map<const model::Block*, Pass> forward, backward;
  int64_t last_use = 0;
};

class GraphedRecompute final : public Activations {
 public:
  explicit GraphedRecompute(const ActivationsSetup& setup)
      : always_(setup.graphs == GraphsMode::kTrue), hooks_replay_(setup.hooks_replay) {}

  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) override {
    Graphs* graphs = graphs_of(call, input);
    const bool ready = graphs != nullptr &&
                       record(*graphs, graphs->forward, call, input, [&](Frame& frame) {
                         return [&frame, &block = call.block] {
                           const at::NoGradGuard no_grad;
                           frame.hidden.copy_(block.forward(frame.hidden, frame.packed));
                         };
                       });
    if (!ready) return plain_.forward(call, input, saved);
    const at::NoGradGuard no_graph;
    if (!call.input_again) saved.input = input;
    Frame& frame = *graphs->frame;
    frame.load(call.packed);
    frame.hidden.copy_(input);
    replay(graphs->forward[&call.block]);
    return frame.hidden.clone();
  }

  at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                      SavedBlock& saved) override {
    Graphs* graphs = replays(call) ? graphs_of(call, output_gradient) : nullptr;
    const bool ready =
        graphs != nullptr &&
        record(*graphs, graphs->backward, call, output_gradient, [&](Frame& frame) {
          return [&frame, &block = call.block, wanted = call.input_gradient] {
            const at::NoGradGuard no_grad;
            const BlockCall same{
                .block = block, .packed = frame.packed, .input_gradient = wanted};
            const at::Tensor found =
                Recompute::backward_from(same, frame.hidden, frame.gradient);
            if (wanted) frame.gradient.copy_(found);
          };
        });
    if (!ready) return plain_.backward(call, std::move(output_gradient), saved);
    const at::NoGradGuard no_graph;
    const at::Tensor kept = std::exchange(saved, {}).input;
    Frame& frame = *graphs->frame;
    frame.load(call.packed);
    frame.hidden.copy_(kept.defined() ? kept : call.input_again());
    frame.gradient.copy_(output_gradient);
    replay(graphs->backward[&call.block]);
    return call.input_gradient ? frame.gradient.clone() : at::Tensor();
  }

  GraphCounts graphs() const override { return counts_; }

 private:
  // Whether a gradient's way is the same in every step, but for numbers that the device
  // keeps.
  bool replays(const BlockCall& call) const {
    return hooks_replay_ && call.micro_batches == 1;
  }

  // Null where a call is not to be recorded. `rows` [N, D] are its input, or the gradient
  // by its output.
  Graphs* graphs_of(const BlockCall& call, const at::Tensor& rows) {
    const bool wanted = always_ || (replays(call) && rows.size(0) <= kMostTokens);
    if (given_up_ || !wanted || !ops::on_device(rows) || call.rows != nullptr ||
        !call.block.replays())
      return nullptr;
    const Shape shape{rows.size(0), static_cast<int64_t>(call.packed.spans.size())};
    Graphs& graphs = by_shape_[shape];
    graphs.last_use = ++uses_;
    if (by_shape_.size() > kMostShapes)
      by_shape_.erase(std::min_element(by_shape_.begin(), by_shape_.end(),
                                       [](const auto& a, const auto& b) {
                                         return a.second.last_use < b.second.last_use;
                                       }));
    return &graphs;
  }

  // Whether a block's pass can be replayed, after recording it where it is its second
  // time. `work(frame)` is what is recorded. Without memory for it, all goes on as it is,
  // unless the configuration insists.
  template <class Work>
  bool record(Graphs& graphs, std::map<const model::Block*, Pass>& passes,
              const BlockCall& call, const at::Tensor& rows, const Work& work) {
    Pass& pass = passes[&call.block];
    if (!std::exchange(pass.has_run, true)) return false;
    if (pass.graph) return true;
    try {
      if (!graphs.frame) graphs.frame = std::make_unique<Frame>(call.packed, rows);
      pass.graph = ops::DeviceGraph::record(rows.device(), work(*graphs.frame));
    } catch (const c10::OutOfMemoryError&) {
      if (always_) throw;
      log::warn("there is no memory left for CUDA graphs; going on without them");
      given_up_ = true;
      by_shape_.clear();
      return false;
    }
    ++counts_.recorded;
    return true;
  }

  void replay(Pass& pass) {
    ++counts_.replayed;
    pass.graph->replay();
  }

  Recompute plain_;
  bool always_, hooks_replay_;
  bool given_up_ = false;
  std::map<Shape, Graphs> by_shape_;
  int64_t uses_ = 0;
  GraphCounts counts_;
};

}  // namespace

std::unique_ptr<Activations> make_graphed_recompute(const ActivationsSetup& setup) {
  return std::make_unique<GraphedRecompute>(setup);
}

}  // namespace lowmem::engine

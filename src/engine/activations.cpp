#include "lowmem/engine/activations.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/variable.h>

#include "activations_policies.h"
#include "lowmem/core/error.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/weights/host_memory.h"
#include "lowmem/weights/staged_file.h"

namespace lowmem::engine {

at::Tensor leaf(const at::Tensor& input, bool with_gradient) {
  return input.detach().set_requires_grad(with_gradient);
}

at::Tensor run_with_graph(const BlockCall& call, const at::Tensor& input,
                          ops::Output output) {
  const at::AutoGradMode with_graph(true);
  return call.block.forward(input, call.packed, call.rows, output);
}

at::Tensor run_backward(at::Tensor output, at::Tensor output_gradient,
                        const at::Tensor& input) {
  const torch::autograd::edge_list roots{torch::autograd::impl::gradient_edge(output)};
  output.reset();
  torch::autograd::variable_list gradients;
  gradients.push_back(std::move(output_gradient));
  torch::autograd::Engine::get_default_engine().execute(
      roots, gradients, /*keep_graph=*/false, /*create_graph=*/false,
      /*accumulate_grad=*/true);
  return input.requires_grad() ? input.grad() : at::Tensor();
}

std::unique_ptr<Activations> make_recompute(const ActivationsSetup& setup) {
  if (setup.graphs == GraphsMode::kFalse) return std::make_unique<Recompute>();
  return make_graphed_recompute(setup);
}

namespace {

// memory.activations, wherever what is kept waits.
std::unique_ptr<Activations> make_policy(OrCount<ActivationsMode> mode,
                                         const ActivationsSetup& setup) {
  if (mode.count) {
    const auto blocks = static_cast<size_t>(*mode.count);
    if (blocks > setup.blocks)
      throw Error("memory.activations = " + std::to_string(blocks),
                  "is more than the model's " + std::to_string(setup.blocks) + " blocks",
                  "Write at most that, or keep");
    return make_keep_last(blocks, setup);
  }
  switch (mode.word) {
    case ActivationsMode::kKeep:
      return make_keep();
    case ActivationsMode::kRecompute:
      return make_recompute(setup);
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Activations> make_activations(OrCount<ActivationsMode> mode,
                                              const ActivationsSetup& setup) {
  auto policy = make_policy(mode, setup);
  switch (setup.kept) {
    case KeptMode::kDevice:
      break;
    case KeptMode::kHost:
      return make_kept_inputs(std::move(policy), setup,
                              std::make_unique<weights::HostMemory>(setup.device));
    case KeptMode::kDisk:
      if (setup.device.is_cpu() && memory::rehearsed_gpu() == nullptr)
        return make_kept_on_disk(std::move(policy), setup);
      return make_kept_inputs(
          std::move(policy), setup,
          std::make_unique<weights::StagedFile>(setup.scratch, setup.device));
  }
  return policy;
}

}  // namespace lowmem::engine

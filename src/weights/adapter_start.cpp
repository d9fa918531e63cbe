#include "lowmem/weights/adapter_start.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/random.h"
#include "lowmem/io/safetensors.h"
#include "lowmem/io/safetensors_writer.h"
#include "lowmem/memory/ledger.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/principal.h"
#include "lowmem/weights/hf_folder.h"
#include "lowmem/weights/quantized.h"
#include "lowmem/weights/quantized_folder.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kStream = 0x6C6F7261;  // "lora": apart from the run's other draws

// Of mean 0 and deviation 1. Box and Muller 1958; 1 - uniform() is never 0.
float normal(Random& random) {
  const float radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  constexpr float kTurn = 6.28318530718f;
  return radius * std::cos(kTurn * random.uniform());
}

// A matrix whose draws are the weight's own.
template <class Draw>
at::Tensor drawn(const Weight& weight, uint64_t seed, Draw&& draw) {
  Random random(seed, kStream + weight.index);
  at::Tensor numbers = at::empty(weight.spec.shape, at::kFloat);
  auto* const begin = numbers.mutable_data_ptr<float>();
  std::generate(begin, begin + numbers.numel(), [&] { return draw(random); });
  return numbers;
}

// A matrix A.
at::Tensor random_first(const Weight& weight, AdapterInit init, uint64_t seed) {
  const auto rank = static_cast<float>(weight.spec.shape[0]);
  const float bound = 1 / std::sqrt(static_cast<float>(weight.spec.shape[1]));
  return drawn(weight, seed, [&](Random& random) {
    return init == AdapterInit::kGaussian ? normal(random) / rank
                                          : bound * (2 * random.uniform() - 1);
  });
}

// A direction that the matrix does not have would stay nothing for ever, both sides being
// 0: it begins as other adapters do.
void begin_missing(StartPair& pair, const Weight& first, uint64_t seed) {
  const at::Tensor sizes =
      at::linalg_vector_norm(pair.a, 2, {1}).mul_(at::linalg_vector_norm(pair.b, 2, {0}));
  if ((sizes > 0).all().item<bool>()) return;
  const at::Tensor random = random_first(first, AdapterInit::kDefault, seed);
  for (int64_t k = 0; k < sizes.size(0); ++k) {
    if (sizes[k].item<float>() > 0) continue;
    pair.a[k].copy_(random[k]);
    pair.b.select(1, k).zero_();
  }
}

void put(Home& home, Weight& weight, const at::Tensor& numbers) {
  const auto* bytes = static_cast<const std::byte*>(numbers.const_data_ptr());
  home.write(weight, [&](int64_t offset, std::span<std::byte> piece) {
    std::copy_n(bytes + offset, piece.size(), piece.data());
  });
}

// AdaLoRA's: E is 0, and A and B are what makes up directions.
void start_triplets(Home& home, const AdapterLayer& layer, uint64_t seed) {
  constexpr float kDeviation = 0.02f;
  Table& table = home.table();
  for (const std::string& name : {layer.a(), layer.b()}) {
    Weight& weight = table.at(name);
    put(home, weight,
        drawn(weight, seed, [](Random& random) { return kDeviation * normal(random); }));
  }
  put(home, table.at(layer.e()), at::zeros(table.at(layer.e()).spec.shape));
}

// scale * B @ A is the part of `matrix` [out, in] that a pair of this rank can hold best,
// each taking the root of a singular value.
StartPair best_pair(const at::Tensor& matrix, const AdapterLayer& layer) {
  const ops::Principal part = ops::principal_part(matrix, layer.rank);
  if (memory::rehearsing()) return {part.right, part.left};
  const at::Tensor roots = part.values.div(layer.scale).sqrt_();
  return {part.right.mul(roots.unsqueeze(1)), part.left.mul(roots)};
}

StartPair orthogonal_pair(const at::Tensor& matrix, const AdapterLayer& layer) {
  const ops::OrthogonalPart part = ops::orthogonal_part(matrix, layer.rank);
  return {part.r, part.q};
}

at::Tensor numbers_of(const Table& table, const AdapterLayer& layer) {
  const ops::StoredMatrix matrix = matrix_of(table, layer.module);
  return matrix.rows(0, matrix.out, at::kFloat).cpu();
}

// matrix - scale * b @ a, rounded once to the matrix's type, on the CPU. Sums in one
// order on every machine, for a resumed run makes the same matrix again.
at::Tensor without(const at::Tensor& matrix, const StartPair& pair, double scale) {
  const int64_t in = matrix.size(1), rank = pair.a.size(0);
  const int64_t slice = std::max<int64_t>(1, kMergedElements / in);
  TORCH_INTERNAL_ASSERT(pair.a.is_contiguous() && pair.b.is_contiguous());
  const float* a = pair.a.const_data_ptr<float>();
  const float* b = pair.b.const_data_ptr<float>();
  const auto factor = static_cast<float>(scale);
  at::Tensor rest = at::empty(matrix.sizes(), matrix.options().device(at::kCPU));
  for (int64_t first = 0; first < matrix.size(0); first += slice) {
    const int64_t count = std::min(slice, matrix.size(0) - first);
    at::Tensor numbers = at::empty({count, in}, at::kFloat);
    numbers.copy_(matrix.narrow(0, first, count));
    float* const row_of = numbers.mutable_data_ptr<float>();
    ops::parallel(count, ops::rows_of_grain(in), [&](int64_t begin, int64_t end) {
      std::vector<float> sum(static_cast<size_t>(in));
      for (int64_t i = begin; i < end; ++i) {
        std::fill(sum.begin(), sum.end(), 0.0f);
        for (int64_t k = 0; k < rank; ++k) {
          const float by = b[(first + i) * rank + k];
          for (int64_t j = 0; j < in; ++j)
            sum[static_cast<size_t>(j)] += by * a[k * in + j];
        }
        float* row = row_of + i * in;
        for (int64_t j = 0; j < in; ++j) row[j] -= factor * sum[static_cast<size_t>(j)];
      }
    });
    rest.narrow(0, first, count).copy_(numbers);
  }
  return rest;
}

// LoftQ: a pair of what the codes have lost. Codes after the first are of the matrix less
// the pair before, in fp32; the home gets the last ones. As utils/loftq_utils.py of PEFT,
// but that the pair is divided by the scale.
StartPair make_up(Home& home, const AdapterLayer& layer, int64_t iterations,
                  const fs::path& model) {
  Table& table = home.table();
  const Weight& codes = table.at(layer.module + ".weight");
  at::Tensor lost = numbers_of(table, layer);
  if (memory::rehearsing()) {
    const at::Tensor whole = at::empty_like(lost);
    const at::Tensor made = iterations > 1 ? room_to_quantize(table) : at::Tensor();
    return best_pair(lost, layer);
  }
  const at::Tensor whole =
      numbers_in(model, matrix_spec(codes.spec), table.all().front().format);
  StartPair pair = best_pair(lost.neg_().add_(whole), layer);
  lost.reset();
  ops::StoredMatrix made;
  for (int64_t done = 1; done < iterations; ++done) {
    made = {};
    at::Tensor rest = without(whole, pair, layer.scale).view(-1);
    made = quantize(codes.spec, [&](int64_t first, at::Tensor& values) {
      values.copy_(rest.narrow(0, first, values.numel()));
    });
    rest.reset();
    pair = best_pair(made.rows(0, made.out, at::kFloat).neg_().add_(whole), layer);
  }
  if (!made.defined()) return pair;
  const std::vector<Weight*> parts = parts_of(table, codes);
  const std::vector<at::Tensor> numbers = made.parts();
  for (size_t i = 0; i < parts.size(); ++i) put(home, *parts[i], numbers[i]);
  return pair;
}

StartPair pair_at_start(Home& home, const AdapterLayer& layer,
                        const AdapterConfig& adapter, const fs::path& model) {
  if (adapter.init == AdapterInit::kLoftq)
    return make_up(home, layer, adapter.loftq_iterations, model);
  const at::Tensor matrix = numbers_of(home.table(), layer);
  return adapter.init == AdapterInit::kPissa ? best_pair(matrix, layer)
                                             : orthogonal_pair(matrix, layer);
}

// Calls f(layer) for each, while its group is borrowed to be written.
template <class F>
void for_layers(Home& home, const AdapterConfig& adapter, F&& f) {
  Table& table = home.table();
  const auto layers = adapter_layers(model_specs(table), adapter);
  for (size_t group = 0; group < table.groups(); ++group) {
    std::vector<const AdapterLayer*> here;
    for (const AdapterLayer& layer : layers)
      if (table.at(layer.a()).spec.group == group) here.push_back(&layer);
    if (here.empty()) continue;
    const Lease lease = home.borrow(group, Access::kWrite);
    for (const AdapterLayer* layer : here) f(*layer);
  }
}

void take_from_layer(Home& home, const AdapterLayer& layer, const StartPair& pair) {
  Weight& matrix = home.table().at(layer.module + ".weight");
  put(home, matrix, without(matrix.here.detach(), pair, layer.scale));
}

// To the norms that the rows have, so that they keep them.
void start_magnitude(Table& table, const AdapterLayer& layer) {
  table.at(layer.m()).here.copy_(
      ops::norms_of_sum(matrix_of(table, layer.module), pair_of(table, layer)));
}

}  // namespace

bool starts_as_nothing(const AdapterConfig& adapter) {
  return adapter.init == AdapterInit::kDefault || adapter.init == AdapterInit::kGaussian;
}

bool takes_from_base(const AdapterConfig& adapter) {
  return adapter.kind != AdapterKind::kNone &&
         (adapter.init == AdapterInit::kPissa || adapter.init == AdapterInit::kOlora);
}

bool makes_codes_anew(const AdapterConfig& adapter) {
  return adapter.kind != AdapterKind::kNone && adapter.init == AdapterInit::kLoftq &&
         adapter.loftq_iterations > 1;
}

AdapterConfig beside_whole_base(const AdapterConfig& given) {
  if (!takes_from_base(given)) return given;
  const double by = given.rank_stabilized ? std::sqrt(2.0) : 2.0;
  AdapterConfig adapter = given;
  adapter.init = AdapterInit::kDefault;
  adapter.rank *= 2;
  adapter.alpha *= by;
  adapter.rank_pattern = multiplied(given.rank_pattern, "adapter.rank_pattern", 2);
  adapter.alpha_pattern = multiplied(given.alpha_pattern, "adapter.alpha_pattern", by);
  return adapter;
}

void check_start(const std::vector<Spec>& specs, const AdapterConfig& adapter,
                 const fs::path& model) {
  if (starts_as_nothing(adapter)) return;
  if (adapter.init == AdapterInit::kLoftq && stored_in(model) != Stored::kPlain)
    throw Error("adapter.init = loftq",
                "makes up for what quantizing loses, and " + model.string() +
                    " lies in codes already",
                "Give the model that they were made of, or adapter.init = default");
  for (const AdapterLayer& layer : adapter_layers(specs, adapter)) {
    const auto found = std::find_if(specs.begin(), specs.end(), [&](const Spec& spec) {
      return spec.name == layer.module + ".weight";
    });
    const int64_t directions = std::min(found->shape[0], found->shape[1]);
    if (layer.rank > directions)
      throw Error("adapter.rank",
                  "is " + std::to_string(layer.rank) + ", and the matrix of " +
                      layer.module + " has only " + std::to_string(directions) +
                      " directions to begin with",
                  "Give it that much or less, or adapter.init = default");
  }
}

void start_adapter(Home& home, const AdapterConfig& adapter, uint64_t seed,
                   const fs::path& model) {
  const at::NoGradGuard no_grad;
  Table& table = home.table();
  const bool random = starts_as_nothing(adapter);
  const auto count =
      static_cast<int64_t>(adapter_layers(model_specs(table), adapter).size());
  std::optional<metrics::Progress> progress;
  if (!random)
    progress.emplace("adapter.init = " + std::string(word_of(adapter.init)), count,
                     metrics::Progress::Unit::kItems);
  for_layers(home, adapter, [&](const AdapterLayer& layer) {
    Weight& first = table.at(layer.a());
    if (layer.values) {
      start_triplets(home, layer, seed);
    } else if (random) {
      put(home, first, random_first(first, adapter.init, seed));
      put(home, table.at(layer.b()), at::zeros(table.at(layer.b()).spec.shape));
    } else {
      StartPair pair = pair_at_start(home, layer, adapter, model);
      begin_missing(pair, first, seed);
      put(home, first, pair.a);
      put(home, table.at(layer.b()), pair.b);
      if (takes_from_base(adapter)) take_from_layer(home, layer, pair);
      progress->add(1);
    }
    if (layer.magnitude) start_magnitude(table, layer);
  });
}

void write_start(Home& home, const AdapterConfig& adapter, const fs::path& file) {
  Table& table = home.table();
  std::vector<TensorSpec> tensors;
  const auto layers = adapter_layers(model_specs(table), adapter);
  for (const AdapterLayer& layer : layers)
    for (const std::string& name : {layer.a(), layer.b()})
      tensors.push_back({name, DType::kF32, table.at(name).spec.shape});
  SafetensorsWriter writer(file, tensors);
  for (const AdapterLayer& layer : layers) {
    const Lease lease = home.borrow(table.at(layer.a()).spec.group, Access::kRead);
    for (const std::string& name : {layer.a(), layer.b()})
      home.read(table.at(name),
                [&](std::span<const std::byte> piece) { writer.write(name, piece); });
  }
  writer.finish();
}

StartPair read_start(const fs::path& file, const AdapterLayer& layer) {
  const SafetensorsFile tensors(file);
  const auto read = [&](const std::string& name, size_t ranks) {
    const TensorInfo* tensor = tensors.find(name);
    if (tensor == nullptr || tensor->shape.size() != 2 ||
        tensor->shape[ranks] != layer.rank || tensor->dtype != DType::kF32)
      throw Error(file.string(), "holds no " + name + " that this adapter began with",
                  "Begin the run anew: without the file the model that it was trained "
                  "beside is lost");
    at::Tensor numbers = at::empty(tensor->shape, at::kFloat);
    tensors.read_as(
        DType::kF32, *tensor,
        {static_cast<std::byte*>(numbers.mutable_data_ptr()), numbers.nbytes()});
    return numbers;
  };
  return {read(layer.a(), 0), read(layer.b(), 1)};
}

void take_from_base(Home& home, const AdapterConfig& adapter, const fs::path& file) {
  const at::NoGradGuard no_grad;
  for_layers(home, adapter, [&](const AdapterLayer& layer) {
    const StartPair pair = read_start(file, layer);
    const auto& matrix = home.table().at(layer.module + ".weight").spec.shape;
    if (pair.a.size(1) != matrix[1] || pair.b.size(0) != matrix[0])
      throw Error(file.string(), "holds a pair of another shape than " + layer.module,
                  "Begin the run anew: it is another model's");
    take_from_layer(home, layer, pair);
  });
}

namespace {

// The norms of the largest matrix that has a magnitude beside it.
void rehearse_magnitude(Home& home, const std::vector<AdapterLayer>& layers) {
  const auto elements = [&](const AdapterLayer& layer) {
    const ops::StoredMatrix matrix = matrix_of(home.table(), layer.module);
    return matrix.out * matrix.in;
  };
  const auto largest = std::max_element(
      layers.begin(), layers.end(), [&](const AdapterLayer& a, const AdapterLayer& b) {
        return elements(a) < elements(b);
      });
  if (largest == layers.end() || !largest->magnitude) return;
  const Table& table = home.table();
  const Lease lease = home.borrow(table.find(largest->a())->spec.group, Access::kRead);
  ops::norms_of_sum(matrix_of(table, largest->module), pair_of(table, *largest));
}

}  // namespace

void rehearse_start(Home& home, const AdapterConfig& adapter) {
  Table& table = home.table();
  const AdapterLayer* largest = nullptr;
  int64_t most = 0;
  const auto layers = adapter_layers(model_specs(table), adapter);
  if (starts_as_nothing(adapter)) {
    for (const AdapterLayer& layer : layers)
      for (const std::string& name : {layer.a(), layer.b()})
        most = std::max(most, table.at(name).spec.elements());
    {
      const memory::OnHost on_host;
      at::empty({most}, at::kFloat);
    }
    rehearse_magnitude(home, layers);
    return;
  }
  const memory::OnHost on_host;
  for (const AdapterLayer& layer : layers) {
    const ops::StoredMatrix matrix = matrix_of(table, layer.module);
    const int64_t room = ops::principal_room(matrix.out, matrix.in);
    if (room <= most) continue;
    most = room;
    largest = &layer;
  }
  if (largest == nullptr) return;
  const Lease lease = home.borrow(table.at(largest->a()).spec.group, Access::kWrite);
  pair_at_start(home, *largest, adapter, {});
}

}  // namespace lowmem::weights

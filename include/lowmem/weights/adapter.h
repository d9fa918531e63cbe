#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/ops/low_rank.h"
#include "lowmem/weights/home.h"
#include "lowmem/weights/names.h"

// Low-rank adapters: beside the matrix W [out, in] of a linear layer lie A [rank, in] and
// B [out, rank], and the layer multiplies by W + scale * B @ A. Hu et al. 2021, "LoRA";
// Kalajdzievski 2023, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA".
// With a magnitude [out] the rows of that sum have these norms: Liu et al. 2024, "DoRA".
// With numbers E [rank, 1] each row of A is multiplied by its own: Zhang et al. 2023,
// "AdaLoRA" (weights/rank_budget.h).
namespace lowmem::weights {

// One layer's, under the name of Hugging Face's module: "model.layers.3.mlp.up_proj".
struct AdapterLayer {
  std::string module;
  int64_t rank = 0;
  double alpha = 0;
  double scale = 0;
  double dropout = 0;      // of the pair's input, in training
  bool magnitude = false;  // whether it has one
  bool values = false;     // whether it has E
  uint32_t index = 0;      // among the layers

  std::string a() const { return module + ".lora_A" + ending(); }
  std::string b() const { return module + ".lora_B" + ending(); }
  std::string m() const { return module + ".lora_magnitude_vector"; }
  std::string e() const { return module + ".lora_E"; }
  bool operator==(const AdapterLayer&) const = default;

 private:
  // As PEFT names them.
  const char* ending() const { return values ? "" : ".weight"; }
};

// Patterns "MODULE=NUMBER" of `key` with other numbers, `by` times as large.
StringList multiplied(const StringList& patterns, const std::string& key, double by);

// The layers that the configuration adapts, in the order of `specs`, which are a model's.
// Throws Error for an entry that means none, or one that cannot be adapted.
std::vector<AdapterLayer> adapter_layers(const std::vector<Spec>& specs,
                                         const AdapterConfig& adapter);

// A model's specs and, behind them, those of its adapter, each pair in its layer's group.
std::vector<Spec> with_adapter(std::vector<Spec> specs, const AdapterConfig& adapter);

// Whether the configuration trains a weight: an adapter's and what adapter.also_train
// names, or without an adapter what model.train selects.
bool trains(const RunConfig& config, const Spec& spec);

// The rate at which a weight learns over the run's: adapter.lr_ratio for an adapter's
// second matrices, and for vectors, as PEFT has it. Hayou et al. 2024, "LoRA+".
double lr_ratio(const AdapterConfig& adapter, const Spec& spec);

// An adapter's pair beside its matrix, as they are now; of one with E, [E * A] and B.
ops::LowRank pair_of(const Table& table, const AdapterLayer& layer);

// Elements of a matrix that are merged at a time.
inline constexpr int64_t kMergedElements = int64_t{1} << 20;

// What a layer multiplies by, rows [first, first + rows) in fp32. While its group is
// borrowed.
at::Tensor merged_rows(const Table& table, const AdapterLayer& layer, int64_t first,
                       int64_t rows);

}  // namespace lowmem::weights

#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "lowmem/weights/rank_budget.h"

// What an adapter's folder holds of AdaLoRA beside what others hold: of each module the
// triplets that are left, as booleans, and tensors of these alone.
namespace lowmem::weights {

// Keys of adapter_config.json that such a folder has and others have not.
bool is_triplets_key(const std::string& key);

// Its init_r. Throws Error where that or one of those that only training reads is no
// number of its kind.
int64_t initial_rank(const std::filesystem::path& file, const nlohmann::json& config);

// What `rank_pattern` says of each module; all of its triplets where there is none.
// Throws Error where it is damaged, or says nothing of one or something of another.
TripletsLeft triplets_in(const std::filesystem::path& file, const nlohmann::json& config,
                         const std::set<std::string>& modules, int64_t rank);

// And its keys, to be written. `steps`: of the run that trained it.
nlohmann::json triplets_config(const AdapterConfig& adapter, const TripletsLeft& left,
                               int64_t steps);

// A weight of a triplet as a folder has it, rows of A or E or columns of B, and as the
// table has it, with zeros for those that are gone.
class FewerTriplets {
 public:
  FewerTriplets(const Spec& spec, const std::vector<bool>& left);
  std::vector<int64_t> shape() const;
  at::Tensor taken_from(const at::Tensor& all) const;
  at::Tensor put_among_zeros(const at::Tensor& fewer) const;

 private:
  std::vector<int64_t> shape_;
  int64_t dim_;
  at::Tensor index_;  // of those that are left, int64
};

}  // namespace lowmem::weights

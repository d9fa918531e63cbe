#include "lowmem/model/random_model.h"

#include "lowmem/model/config.h"
#include "lowmem/weights/hf_folder.h"

namespace lowmem::model {

void write_random_model(const std::filesystem::path& config_file,
                        const std::filesystem::path& folder, DType dtype, uint64_t seed,
                        int64_t max_shard_bytes) {
  const Config config = read_model_config(config_file);
  weights::write_random(weight_specs(config), config.initializer_range, config_file,
                        folder, dtype, seed, max_shard_bytes);
}

}  // namespace lowmem::model

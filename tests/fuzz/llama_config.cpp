// config.json of a Hugging Face folder, and its copy with another dtype.

#include "lowmem/model/config.h"
#include "support.h"

using namespace lowmem;

namespace {

class Folder : public fuzz::InputFolder {
 public:
  Folder() { add("config.json", file); }
  fuzz::InputFile file;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kMostLayers = 100;
  static Folder folder;
  folder.file.write(fuzz::text_of(data, size));
  fuzz::only_errors([] {
    model::Config config = model::read_model_config(folder.path());
    weights::create_model_folder(folder.path() / "config.json", folder.path() / "copy",
                                 DType::kBF16);
    model::read_model_config(folder.path() / "copy");
    // Only the time depends on the number of layers.
    if (config.num_hidden_layers <= kMostLayers)
      fuzz::require(model::parameter_count(config) > 0);
  });
  return 0;
}

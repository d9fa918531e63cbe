// model.safetensors.index.json, in a folder with two shards.

#include "lowmem/io/safetensors_writer.h"
#include "lowmem/io/weights_folder.h"
#include "support.h"

using namespace lowmem;

namespace {

class Folder : public fuzz::InputFolder {
 public:
  Folder() {
    add(kWeightsIndexFile, index);
    for (const std::string name : {"a", "b"}) {
      SafetensorsWriter shard(path() / name, {{name + ".weight", DType::kU8, {1}}});
      const std::byte value{0};
      shard.write(name + ".weight", {&value, 1});
      shard.finish();
    }
  }
  fuzz::InputFile index;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  folder.index.write(fuzz::text_of(data, size));
  fuzz::only_errors([] {
    const WeightsFolder weights(folder.path());
    for (const WeightsFolder::Location& at : weights.tensors()) {
      fuzz::require(at.file->path().parent_path() == folder.path());
      fuzz::require(weights.find(at.tensor->name).tensor == at.tensor);
    }
  });
  return 0;
}

// tokenizer.json.

#include "tokenizer_use.h"

using namespace lowmem;

namespace {

class Folder : public fuzz::InputFolder {
 public:
  Folder() { add("tokenizer.json", file); }
  fuzz::InputFile file;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  const std::string_view text = fuzz::text_of(data, size);
  folder.file.write(text);
  fuzz::use_tokenizer(folder.path() / "tokenizer.json", text);
  return 0;
}

// Rows of a HellaSwag JSONL file.

#include "lowmem/data/hellaswag.h"
#include "support.h"

using namespace lowmem;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::InputFile file;
  file.write(fuzz::text_of(data, size));
  fuzz::only_errors([] {
    for (const HellaSwagRow& row : read_hellaswag(file.path(), 0)) {
      const EvalItem item = eval_item(row);
      for (const std::string& choice : item.choices)
        fuzz::require(choice_length(choice) <= static_cast<int64_t>(choice.size()));
    }
  });
  return 0;
}

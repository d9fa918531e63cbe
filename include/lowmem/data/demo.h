#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lowmem {

struct DemoFile {
  std::string name;  // below the demo's folder: "train.jsonl", "model/config.json"
  std::string text;
};

// Multiples of four: four rows share their endings.
struct DemoSize {
  int64_t train_rows = 2400;
  int64_t val_rows = 400;
};

// The embedded demo, all but the weights: HellaSwag rows of generated English, a
// tokenizer for them and the configuration of a small Llama (200 thousand parameters).
//
//   train.jsonl  val.jsonl                                      official HellaSwag schema
//   model/config.json  model/tokenizer.json  model/tokenizer_config.json
//
// A context names a place and tools of one of 10 activities; the right ending is what one
// does there. The four endings differ in verb and object only. Four rows share their
// endings and each ending is right in one of them, so that whoever looks at endings
// alone, at their length too, is right in 25% of the rows. No two rows have the same
// context.
//
// The same bytes on every machine for the same seed.
std::vector<DemoFile> demo_files(uint64_t seed, DemoSize size = {});

}  // namespace lowmem

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_field.h"

namespace lowmem::tokenization {

// The `decoder` of tokenizer.json for models whose pieces are text: Replace,
// ByteFallback, Fuse, Strip, Metaspace and sequences. (ByteLevel is not a step: its
// pieces are bytes.)
class Decoder {
 public:
  // Joins pieces with spaces, as a tokenizer.json without a decoder does.
  Decoder() = default;
  explicit Decoder(const JsonField& field);
  // SentencePiece's: marks become spaces, byte pieces bytes, and one leading space goes.
  static Decoder sentencepiece(bool strip_leading_space);

  // Throws Error where a text would become more than 16 times as long, and 1 MiB.
  std::string operator()(std::vector<std::string> pieces) const;

 private:
  struct Step {
    enum class Kind { kReplace, kByteFallback, kFuse, kStrip, kMetaspace } kind;
    std::string pattern;  // what to replace or strip; the mark of Metaspace
    std::string content;
    int64_t start = 0;  // how many to strip at each end
    int64_t stop = 0;
    bool prefixed = false;  // Metaspace: marks of the first piece go
  };
  void read(const JsonField& field, int depth);

  std::string where_;
  std::vector<Step> steps_;
  bool present_ = false;
};

// What one piece of such a model stands for: marks become spaces, a byte piece its byte.
std::string text_of_piece(std::string_view piece);

}  // namespace lowmem::tokenization

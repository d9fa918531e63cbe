// tokenizer.json, the format of Hugging Face's `tokenizers` library: its results are the
// specification. `truncation` and `padding` are settings of that library's calls, and the
// special tokens of `post_processor` are not encode()'s to add, so neither is applied.

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/units.h"
#include "lowmem/core/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/decoder.h"
#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/open.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace lowmem::tokenization {
namespace {

std::unique_ptr<Model> read_model(const JsonField& field, bool byte_level) {
  // Files of before 2020 name no type; only BPE has merges.
  const auto type = field.find("type");
  const std::string name = type ? type->string() : field.find("merges") ? "BPE" : "null";
  if (name == "BPE") return bpe_model(field, byte_level);
  if (name != "WordLevel") field.refuse("the model " + name);
  if (byte_level) field.refuse("WordLevel beside ByteLevel");
  return word_level_model(field);
}

bool is_byte_level_decoder(const JsonField& field) {
  if (field.at("type").string() == "ByteLevel") return true;
  if (field.at("type").string() != "Sequence") return false;
  const auto steps = field.at("decoders").elements();
  return steps.size() == 1 && steps[0].at("type").string() == "ByteLevel";
}

class JsonTokenizer : public Tokenizer {
 public:
  JsonTokenizer(const JsonField& file, const FolderConfig& config) {
    if (const auto field = file.find("normalizer")) normalizer_ = Normalizer(*field);
    if (const auto field = file.find("pre_tokenizer"))
      pre_tokenizers_ = PreTokenizers(*field);
    read_decoder(file);
    const JsonField model = file.at("model");
    model_ = read_model(model, pre_tokenizers_.byte_level());
    vocab_size_ = model_->pieces().id_end();
    if (const auto field = file.find("added_tokens"))
      read_added_tokens(*field, model.at("vocab"));

    std::optional<LeadingToken> leading;
    if (const auto field = file.find("post_processor")) leading = leading_token(*field);
    if (leading && leading->id >= vocab_size_)
      throw Error(
          leading->where,
          "names the id " + std::to_string(leading->id) + ", which the vocabulary lacks",
          kFetchAgain);
    const auto id = [this](const std::string& content) { return find(content); };
    const auto own = leading ? std::optional(leading->id) : std::nullopt;
    bos_id_ = resolve_special(config.bos_token, config.bos_id, own, id, vocab_size_);
    eos_id_ = resolve_special(config.eos_token, config.eos_id, {}, id, vocab_size_);
    adds_bos_ = leading.has_value();
    if (adds_bos_ && bos_id_ != leading->id)
      throw Error(leading->where,
                  "puts the token " + std::to_string(leading->id) +
                      " before every text, but the folder's BOS is " +
                      std::to_string(*bos_id_),
                  "Make the two agree");
    chat_templates_ = config.chat_templates;
    named_tokens_ = config.named_tokens;
    prepends_once_ = config.space_before_text_alone;
  }

  std::optional<int32_t> id_of(std::string_view token) const override {
    const int32_t id = find(std::string(token));
    return id == kNoId ? std::nullopt : std::optional(id);
  }

  std::string piece(int32_t id) const override {
    if (const auto added = added_.find(id); added != added_.end())
      return added->second.content;
    const std::string_view piece = model_->pieces().by_id(id);
    return pre_tokenizers_.byte_level() ? std::string(piece) : text_of_piece(piece);
  }

  std::string decode(const std::vector<int32_t>& ids) const override {
    std::vector<std::string> pieces;
    for (const int32_t id : ids) {
      if (special_ids_.contains(id)) continue;
      if (const auto added = added_.find(id); added != added_.end())
        pieces.push_back(added->second.piece);
      else if (model_->pieces().contains(id))
        pieces.emplace_back(model_->pieces().by_id(id));
    }
    if (!pre_tokenizers_.byte_level()) return decoder_(std::move(pieces));
    std::string bytes;
    for (const std::string& piece : pieces) bytes += piece;
    return to_utf8(bytes);
  }

  int64_t vocab_size() const override { return vocab_size_; }

  std::vector<Part> parts(std::string_view text,
                          std::span<const Range> plain) const override {
    check_length(text);
    return written_tokens_.parts(text, plain);
  }

 private:
  std::vector<int32_t> ids_of(std::string_view text, bool starts_text,
                              bool special) const override {
    check_length(text);
    std::string repaired;
    if (!is_utf8(text)) text = repaired = to_utf8(text);
    std::vector<int32_t> ids;
    BpeScratch scratch;
    for (const AddedTokenFinder::Part part : raw_tokens_.split(text, special)) {
      const bool first = starts_text && part.text.data() == text.data();
      if (part.id != kNoId)
        ids.push_back(part.id);
      else
        encode_part(part.text, first, special, scratch, ids);
    }
    return ids;
  }

  // The decoder and the pre-tokenizer must agree on whether pieces are bytes.
  void read_decoder(const JsonField& file) {
    const auto field = file.find("decoder");
    const bool bytes = field && is_byte_level_decoder(*field);
    if (bytes != pre_tokenizers_.byte_level())
      file.refuse(bytes ? "a ByteLevel decoder without a ByteLevel pre-tokenizer"
                        : "a ByteLevel pre-tokenizer without a ByteLevel decoder");
    if (field && !bytes) decoder_ = Decoder(*field);
  }

  void read_added_tokens(const JsonField& field, const JsonField& vocabulary) {
    // The library numbers tokens that the model lacks itself, upwards from here.
    int64_t next_id = static_cast<int64_t>(vocabulary.raw().size());
    for (const JsonField& entry : field.elements()) {
      AddedToken token = read_added_token(entry);
      token.id = checked_id(entry.at("id").integer(), entry.at("id").where());
      if (token.content.empty()) continue;
      const auto known = vocabulary.raw().find(token.content);
      const bool of_model = known != vocabulary.raw().end();
      const int64_t expected = of_model ? known->get<int64_t>() : next_id;
      if (token.id != expected)
        throw Error(entry.where(),
                    "gives \"" + token.content + "\" the id " + std::to_string(token.id) +
                        ", where the vocabulary makes it " + std::to_string(expected),
                    kFetchAgain);
      if (!of_model) ++next_id;
      if (!of_model && model_->pieces().contains(token.id))
        entry.fail("has the id of another piece");
      if (added_.contains(token.id)) entry.fail("is there twice");
      add(token);
    }
  }

  void add(const AddedToken& token) {
    const std::string written =
        token.normalized ? normalizer_(token.content) : token.content;
    (token.normalized ? normalized_tokens_ : raw_tokens_).add(written, token);
    // A special token is one however the text around it is normalized.
    if (!token.normalized || token.special) written_tokens_.add(token.content, token);
    std::string piece = written;
    if (pre_tokenizers_.byte_level())
      if (auto bytes = bytes_of_alphabet(written)) piece = std::move(*bytes);
    added_.emplace(token.id, Added{token.content, std::move(piece)});
    added_ids_.emplace(token.content, token.id);
    if (token.special) special_ids_.insert(token.id);
    vocab_size_ = std::max<int64_t>(vocab_size_, token.id + 1);
  }

  int32_t find(const std::string& content) const {
    if (const auto added = added_ids_.find(content); added != added_ids_.end())
      return added->second;
    if (!pre_tokenizers_.byte_level()) return model_->pieces().find(content);
    const auto bytes = bytes_of_alphabet(content);
    return bytes ? model_->pieces().find(*bytes) : kNoId;
  }

  void encode_part(std::string_view text, bool starts_text, bool special,
                   BpeScratch& scratch, std::vector<int32_t>& ids) const {
    std::string changed;
    if (normalizer_.changes_text())
      text = changed = normalizer_(text, starts_text || !prepends_once_);
    for (const AddedTokenFinder::Part part : normalized_tokens_.split(text, special)) {
      if (part.id != kNoId) {
        ids.push_back(part.id);
        continue;
      }
      Words words;
      words.views = {part.text};
      words.starts_text = starts_text && part.text.data() == text.data();
      pre_tokenizers_.apply(words);
      for (const std::string_view word : words.views) model_->encode(word, scratch, ids);
    }
  }

  Normalizer normalizer_;
  bool prepends_once_ = false;
  PreTokenizers pre_tokenizers_;
  std::unique_ptr<Model> model_;
  Decoder decoder_;
  AddedTokenFinder raw_tokens_;
  AddedTokenFinder normalized_tokens_;
  AddedTokenFinder written_tokens_;  // what parts() looks for
  struct Added {
    std::string content;
    std::string piece;  // what the decoder sees
  };
  std::unordered_map<int32_t, Added> added_;
  std::unordered_map<std::string, int32_t> added_ids_;
  std::unordered_set<int32_t> special_ids_;
  int64_t vocab_size_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> open_tokenizer_json(const std::filesystem::path& path,
                                               const FolderConfig& config) {
  const nlohmann::json document = read_json(path, 128 * kMiB);  // Gemma's is 33 MB
  return std::make_unique<JsonTokenizer>(JsonField(document, path), config);
}

}  // namespace lowmem::tokenization

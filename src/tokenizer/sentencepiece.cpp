// SentencePiece `tokenizer.model` of Llama-1, Llama-2 and TinyLlama, through the library
// itself. Special tokens written in a text are found first, as transformers does; what
// lies between them goes to the library.

#include <sentencepiece_processor.h>

#include <algorithm>
#include <exception>
#include <new>
#include <unordered_map>

#include "lowmem/core/error.h"
#include "lowmem/core/utf8.h"
#include "tokenizer/character_map.h"
#include "tokenizer/decoder.h"
#include "tokenizer/open.h"

namespace lowmem::tokenization {
namespace {

using sentencepiece::SentencePieceProcessor;

// Protobuf merges a message that appears twice, so that these bytes at a model's end set
// add_dummy_prefix (field 3 of normalizer_spec, field 3 of the model) to false.
constexpr std::string_view kNoPrefix("\x1A\x02\x18\x00", 4);

// Whether the library says that `call` succeeded. It reports through statuses, but the
// trie inside it throws.
template <class Call>
bool succeeds(const Call& call) {
  try {
    return call().ok();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {
    return false;
  }
}

void load(SentencePieceProcessor& processor, const std::string& content,
          const std::string& file) {
  if (!has_sound_character_maps(content) ||
      !succeeds([&] { return processor.LoadFromSerializedProto(content); }) ||
      processor.GetPieceSize() == 0)
    throw Error(file, "is not a valid SentencePiece model", kFetchAgain);
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(const std::string& file, const std::string& content,
                         const FolderConfig& config)
      : file_(file) {
    load(with_prefix_, content, file);
    load(without_prefix_, content + std::string(kNoPrefix), file);
    piece_count_ = with_prefix_.GetPieceSize();
    vocab_size_ = piece_count_;
    const bool prefixes =
        library_encode(with_prefix_, "a") != library_encode(without_prefix_, "a") &&
        config.add_prefix_space.value_or(true);
    prefix_ = !prefixes       ? Prefix::kNever
              : config.legacy ? Prefix::kAlways
                              : Prefix::kFirst;
    decoder_ = Decoder::sentencepiece(prefixes);
    read_special_tokens(config);

    const auto id = [this](const std::string& name) { return find(name); };
    const auto own = [](int library_id) {
      return library_id < 0 ? std::nullopt : std::optional<int32_t>(library_id);
    };
    bos_id_ = resolve_special(config.bos_token, config.bos_id, own(with_prefix_.bos_id()),
                              id, vocab_size_);
    eos_id_ = resolve_special(config.eos_token, config.eos_id, own(with_prefix_.eos_id()),
                              id, vocab_size_);
    adds_bos_ = bos_id_ && config.add_bos_token.value_or(true);
    chat_templates_ = config.chat_templates;
    named_tokens_ = config.named_tokens;
  }

  std::optional<int32_t> id_of(std::string_view token) const override {
    const int32_t id = find(std::string(token));
    return id == kNoId ? std::nullopt : std::optional(id);
  }

  std::string piece(int32_t id) const override {
    if (const auto added = added_.find(id); added != added_.end()) return added->second;
    if (const auto special = special_ids_.find(id); special != special_ids_.end())
      return special->second;
    return is_piece(id) ? text_of_piece(with_prefix_.IdToPiece(id)) : "";
  }

  std::string decode(const std::vector<int32_t>& ids) const override {
    std::vector<std::string> pieces;
    for (const int32_t id : ids) {
      if (special_ids_.contains(id)) continue;
      if (const auto added = added_.find(id); added != added_.end())
        pieces.push_back(added->second);
      else if (is_piece(id) && !with_prefix_.IsControl(id) && !with_prefix_.IsUnknown(id))
        pieces.push_back(with_prefix_.IdToPiece(id));
    }
    return decoder_(std::move(pieces));
  }

  int64_t vocab_size() const override { return vocab_size_; }

  std::vector<Part> parts(std::string_view text,
                          std::span<const Range> plain) const override {
    check_length(text);
    return finder_.parts(text, plain);
  }

 private:
  enum class Prefix { kAlways, kFirst, kNever };  // where a space is put before the text

  std::vector<int32_t> ids_of(std::string_view text, bool starts_text,
                              bool special) const override {
    check_length(text);
    std::string repaired;
    if (!is_utf8(text)) text = repaired = to_utf8(text);
    std::vector<int32_t> ids;
    for (const AddedTokenFinder::Part part : finder_.split(text, special)) {
      if (part.id != kNoId) {
        ids.push_back(part.id);
        continue;
      }
      const bool prefix =
          prefix_ == Prefix::kAlways ||
          (prefix_ == Prefix::kFirst && starts_text && part.text.data() == text.data());
      const auto more =
          library_encode(prefix ? with_prefix_ : without_prefix_, part.text);
      ids.insert(ids.end(), more.begin(), more.end());
    }
    return ids;
  }

  bool is_piece(int32_t id) const { return id >= 0 && id < piece_count_; }

  std::vector<int> library_encode(const SentencePieceProcessor& processor,
                                  std::string_view text) const {
    std::vector<int> ids;
    if (!succeeds([&] { return processor.Encode({text.data(), text.size()}, &ids); }))
      throw Error(file_,
                  "cannot encode a text of " + std::to_string(text.size()) + " bytes",
                  "Check that the file is a tokenizer");
    return ids;
  }

  void read_special_tokens(const FolderConfig& config) {
    for (const AddedToken& token : config.added_tokens) {
      if (token.id >= piece_count_ && piece_id(token.content) != kNoId)
        throw Error(file_,
                    "has the piece \"" + token.content +
                        "\", which the folder's configuration adds again",
                    "Remove it from added_tokens_decoder or added_tokens.json");
      finder_.add(token.content, token);
      ids_.emplace(token.content, token.id);
      if (token.special)
        special_ids_.emplace(token.id, token.content);
      else
        added_.emplace(token.id, token.content);
      vocab_size_ = std::max<int64_t>(vocab_size_, token.id + 1);
    }
    for (const int id :
         {with_prefix_.unk_id(), with_prefix_.bos_id(), with_prefix_.eos_id()})
      if (id >= 0) add_special(with_prefix_.IdToPiece(id), id);
    // Names of tokens that no file gives an id are ordinary text.
    for (const std::string& content : config.special_tokens)
      if (find(content) != kNoId) add_special(content, find(content));
  }

  void add_special(const std::string& content, int32_t id) {
    AddedToken token;
    token.id = id;
    token.content = content;
    token.special = true;
    finder_.add(content, token);
    ids_.emplace(content, id);
    special_ids_.emplace(id, content);
  }

  int32_t piece_id(const std::string& content) const {
    const int id =
        with_prefix_.PieceToId(content);  // the unknown piece where it is missing
    return with_prefix_.IdToPiece(id) == content ? id : kNoId;
  }

  int32_t find(const std::string& content) const {
    const auto found = ids_.find(content);
    return found != ids_.end() ? found->second : piece_id(content);
  }

  std::string file_;
  SentencePieceProcessor with_prefix_;
  SentencePieceProcessor without_prefix_;
  Prefix prefix_ = Prefix::kFirst;
  Decoder decoder_;
  int32_t piece_count_ = 0;
  int64_t vocab_size_ = 0;
  AddedTokenFinder finder_;
  std::unordered_map<std::string, int32_t> ids_;    // of special and added tokens
  std::unordered_map<int32_t, std::string> added_;  // that decode() does not leave out
  std::unordered_map<int32_t, std::string> special_ids_;
};

}  // namespace

std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& path,
                                              const std::string& content,
                                              const FolderConfig& config) {
  return std::make_unique<SentencePieceTokenizer>(path.string(), content, config);
}

}  // namespace lowmem::tokenization

// Meta's Llama-3 `tokenizer.model`: lines of "base64 rank" as in OpenAI's tiktoken, where
// the rank is the id; special tokens follow the last rank.

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>

#include "lowmem/core/error.h"
#include "lowmem/core/utf8.h"
#include "tokenizer/model.h"
#include "tokenizer/open.h"
#include "tokenizer/pre_tokenizer.h"

namespace lowmem::tokenization {
namespace {

constexpr int32_t kSpecialTokens = 256;

// RFC 4648 base64 with its padding; nullopt where it is not.
std::optional<std::string> from_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool pad = i >= text.size() - padding;
    const size_t digit = pad ? 0 : kDigits.find(text[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(bits >> shift & 0xFF);
    bits = 0;
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

struct Line {
  std::string bytes;
  int64_t rank = -1;
};

std::optional<Line> read_line(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto bytes = from_base64(text.substr(0, space));
  Line line;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + space + 1, end, line.rank);
  if (!bytes || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  line.bytes = *bytes;
  return line;
}

PieceTable read_ranks(const std::string& file, std::string_view content) {
  PieceTable pieces;
  int64_t count = 0;
  int64_t number = 0;
  while (!content.empty()) {
    ++number;
    const size_t end = std::min(content.find('\n'), content.size());
    std::string_view text = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.empty()) continue;
    const std::string where = file + " line " + std::to_string(number);
    const auto line = read_line(text);
    if (!line && number == 1)
      throw Error(
          file,
          "is neither a SentencePiece model nor a tiktoken file (lines of a base64 "
          "piece and its rank)",
          kFetchAgain);
    if (!line) throw Error(where, "is not a base64 piece and its rank", kFetchAgain);
    const std::string rank = std::to_string(line->rank);
    if (line->rank < 0 || line->rank >= kIdLimit)
      throw Error(
          where,
          "has the rank " + rank + ", outside 0 to " + std::to_string(kIdLimit - 1),
          kFetchAgain);
    if (pieces.contains(line->rank))
      throw Error(where, "has the rank " + rank + " of an earlier line", kFetchAgain);
    if (!pieces.add(static_cast<int32_t>(line->rank), line->bytes))
      throw Error(where, "repeats the piece of an earlier line", kFetchAgain);
    ++count;
  }
  for (int32_t id = 0; id < pieces.id_end(); ++id)
    if (!pieces.contains(id))
      throw Error(file,
                  "lacks the rank " + std::to_string(id) + " (it has " +
                      std::to_string(count) + " of " + std::to_string(pieces.id_end()) +
                      ")",
                  kFetchAgain);
  for (int b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    if (pieces.find(std::string_view(&byte, 1)) == kNoId)
      throw Error(file, "has no piece for the single byte " + std::to_string(b),
                  kFetchAgain);
  }
  return pieces;
}

// Llama 3.1's names, in the order of their ids. Llama 3.0 had reserved the ids of
// finetune_right_pad_id, eom_id and python_tag, and numbered the reserved ones through.
std::vector<AddedToken> llama3_special_tokens(int32_t first) {
  std::unordered_map<int32_t, std::string> names = {{0, "<|begin_of_text|>"},
                                                    {1, "<|end_of_text|>"},
                                                    {4, "<|finetune_right_pad_id|>"},
                                                    {6, "<|start_header_id|>"},
                                                    {7, "<|end_header_id|>"},
                                                    {8, "<|eom_id|>"},
                                                    {9, "<|eot_id|>"},
                                                    {10, "<|python_tag|>"}};
  std::vector<AddedToken> tokens;
  int reserved = 0;
  for (int32_t i = 0; i < kSpecialTokens; ++i) {
    AddedToken token;
    token.id = first + i;
    token.content = names.contains(i)
                        ? names[i]
                        : "<|reserved_special_token_" + std::to_string(reserved++) + "|>";
    token.special = true;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

class TiktokenTokenizer : public Tokenizer {
 public:
  TiktokenTokenizer(const std::string& file, const std::string& content,
                    const FolderConfig& config)
      : model_(rank_model(read_ranks(file, content))),
        split_(make_split(to_pcre2(llama3_pattern(), file), file,
                          MatchBehavior::kIsolated, false)) {
    const int32_t ranks = model_->pieces().id_end();
    std::vector<AddedToken> tokens;
    for (const AddedToken& token : config.added_tokens)
      if (token.id >= ranks) tokens.push_back(token);
    if (tokens.empty()) tokens = llama3_special_tokens(ranks);
    for (const AddedToken& token : tokens) {
      finder_.add(token.content, token);
      ids_.emplace(token.content, token.id);
      names_.emplace(token.id, token.content);
      if (!token.special) added_.emplace(token.id, token.content);
      vocab_size_ = std::max<int64_t>(vocab_size_, token.id + 1);
    }
    const auto id = [this](const std::string& name) { return find(name); };
    const auto own = [&](const char* name) {
      return id(name) == kNoId ? std::nullopt : std::optional(id(name));
    };
    bos_id_ = resolve_special(config.bos_token, config.bos_id, own("<|begin_of_text|>"),
                              id, vocab_size_);
    eos_id_ = resolve_special(config.eos_token, config.eos_id, own("<|end_of_text|>"), id,
                              vocab_size_);
    adds_bos_ = bos_id_ && config.add_bos_token.value_or(true);
    chat_templates_ = config.chat_templates;
    named_tokens_ = config.named_tokens;
  }

  std::optional<int32_t> id_of(std::string_view token) const override {
    const int32_t id = find(std::string(token));
    return id == kNoId ? std::nullopt : std::optional(id);
  }

  std::string piece(int32_t id) const override {
    const auto name = names_.find(id);
    return name != names_.end() ? name->second : std::string(model_->pieces().by_id(id));
  }

  std::string decode(const std::vector<int32_t>& ids) const override {
    std::string bytes;
    for (const int32_t id : ids) {
      if (const auto added = added_.find(id); added != added_.end())
        bytes += added->second;
      else
        bytes += model_->pieces().by_id(id);
    }
    return to_utf8(bytes);
  }

  int64_t vocab_size() const override { return vocab_size_; }

  std::vector<Part> parts(std::string_view text,
                          std::span<const Range> plain) const override {
    check_length(text);
    return finder_.parts(text, plain);
  }

 private:
  int32_t find(const std::string& token) const {
    const auto found = ids_.find(token);
    return found != ids_.end() ? found->second : model_->pieces().find(token);
  }

  // `special`: whether special tokens written out in the text count as such.
  std::vector<int32_t> ids_of(std::string_view text, bool /*starts_text*/,
                              bool special) const override {
    check_length(text);
    std::string repaired;
    if (!is_utf8(text)) text = repaired = to_utf8(text);
    std::vector<int32_t> ids;
    BpeScratch scratch;
    for (const AddedTokenFinder::Part part : finder_.split(text, special)) {
      if (part.id != kNoId) {
        ids.push_back(part.id);
        continue;
      }
      Words words;
      words.views = {part.text};
      split_->apply(words);
      for (const std::string_view word : words.views) model_->encode(word, scratch, ids);
    }
    return ids;
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<PreTokenizer> split_;
  AddedTokenFinder finder_;
  std::unordered_map<std::string, int32_t> ids_;    // of all special and added tokens
  std::unordered_map<int32_t, std::string> names_;  // the same, by their ids
  std::unordered_map<int32_t, std::string> added_;  // that decode() does not leave out
  int64_t vocab_size_ = 0;
};

}  // namespace

std::string_view llama3_pattern() {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
         R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

std::unique_ptr<Tokenizer> open_tiktoken(const std::filesystem::path& path,
                                         const std::string& content,
                                         const FolderConfig& config) {
  return std::make_unique<TiktokenTokenizer>(path.string(), content, config);
}

}  // namespace lowmem::tokenization

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lowmem {

// A chat template of a model folder, in Jinja.
struct NamedTemplate {
  std::string name;  // "default", "tool_use"
  std::string text;
  std::string where;  // the file, and the key in it
};

// Text to token ids and back. Thread-safe once open.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The ids of `text` alone: no BOS or EOS is added. Special tokens written out in the
  // text ("<|eot_id|>") become their ids, as transformers does by default. Bytes that are
  // not UTF-8 are read as U+FFFD. O(n log n).
  std::vector<int32_t> encode(std::string_view text) const {
    return ids_of(text, /*starts_text=*/true, /*special=*/true);
  }

  // The same, but special tokens written out in the text are text, so that whoever wrote
  // it cannot place one. (Added tokens that are not special become their ids all the
  // same.) `starts_text`: false where a special token stands before it; tokenizers in
  // SentencePiece's manner put a space before the first text alone.
  std::vector<int32_t> encode_plain(std::string_view text, bool starts_text) const {
    return ids_of(text, starts_text, /*special=*/false);
  }

  // Bytes [begin, end) of a text.
  struct Range {
    size_t begin, end;
  };
  // A token, or what lies between two (without an id).
  struct Part : Range {
    std::optional<int32_t> id;
  };
  // `text`, which is UTF-8, cut at the special and added tokens that are written out in
  // it; special ones that touch a range of `plain` (in order, apart) are text. The ids of
  // the text are those of its parts: a part's own, or encode_plain(part, part.begin ==
  // 0).
  virtual std::vector<Part> parts(std::string_view text,
                                  std::span<const Range> plain) const;

  // The id of the token whose text is `token`, special ones among them.
  virtual std::optional<int32_t> id_of(std::string_view token) const = 0;

  // What `id` stands for in a text: any bytes, not all of them text on their own. Special
  // tokens as they are written; empty for ids that the vocabulary lacks.
  virtual std::string piece(int32_t id) const = 0;

  // The text of `ids`. Special tokens, and ids that the vocabulary lacks, are left out;
  // bytes that spell no text become U+FFFD.
  virtual std::string decode(const std::vector<int32_t>& ids) const = 0;

  // One more than the largest id that encode() can return.
  virtual int64_t vocab_size() const = 0;

  // From the folder's own configuration; nullopt where it names none.
  std::optional<int32_t> bos_id() const { return bos_id_; }
  std::optional<int32_t> eos_id() const { return eos_id_; }

  // Whether every text is to begin with BOS. For tokenizer.json its post-processor says
  // so, whatever `add_bos_token` is, as in transformers 5. For tokenizer.model the
  // folder's `add_bos_token` does; where it is silent, Llama's default holds, which is
  // true.
  bool adds_bos() const { return adds_bos_; }

  // The folder's chat templates, as transformers 5 finds them: chat_template.jinja, which
  // is `default`, and additional_chat_templates/NAME.jinja; without these, those of
  // tokenizer_config.json. Empty where there are none.
  const std::vector<NamedTemplate>& chat_templates() const { return chat_templates_; }

  // The tokens that a template may write by name: `bos_token` and `eos_token`, and
  // `unk_token`, `pad_token` and the like where the folder names them.
  std::vector<std::pair<std::string, std::string>> named_tokens() const;

 protected:
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
  bool adds_bos_ = false;
  std::vector<NamedTemplate> chat_templates_;
  std::vector<std::pair<std::string, std::string>>
      named_tokens_;  // as the folder has them

 private:
  // `special`: whether special tokens written out in the text count as such.
  virtual std::vector<int32_t> ids_of(std::string_view text, bool starts_text,
                                      bool special) const = 0;
};

// Opens the tokenizer of a Hugging Face or Meta model folder: `tokenizer.json` where
// present, else `tokenizer.model` (SentencePiece, or Meta's tiktoken text; told apart by
// content). Throws Error when there is none, or when it uses something not implemented.
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& model_dir);

// Opens one tokenizer file: a .json as tokenizer.json, any other name by its content. The
// configuration is that of the folder it lies in.
std::unique_ptr<Tokenizer> open_tokenizer_file(const std::filesystem::path& path);

}  // namespace lowmem

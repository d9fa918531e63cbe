#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include "lowmem/core/error.h"
#include "lowmem/core/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/model.h"
#include "tokenizer/vocabulary.h"

namespace lowmem::tokenization {
namespace {

class BpeModel : public Model {
 public:
  BpeModel(const JsonField& field, bool byte_level)
      : where_(field.where()),
        byte_level_(byte_level),
        fuse_unknown_(field.boolean("fuse_unk", false)),
        ignore_merges_(field.boolean("ignore_merges", false)) {
    refuse_variants(field);
    const Vocabulary vocabulary(field.at("vocab"));
    for (const auto& [piece, id] : vocabulary.in_id_order()) add_piece(*piece, id);
    read_merges(field.at("merges"), vocabulary);
    if (const auto unknown = field.find("unk_token")) {
      unknown_piece_ = unknown->string();
      unknown_ = vocabulary.find(unknown_piece_);
    }
    if (field.boolean("byte_fallback", false)) read_byte_pieces(vocabulary);
    for (int b = 0; byte_level_ && b < 256; ++b) {
      const char byte = static_cast<char>(b);
      byte_ids_[static_cast<size_t>(b)] = pieces_.find(std::string_view(&byte, 1));
      if (byte_ids_[static_cast<size_t>(b)] == kNoId && byte_fallback_)
        field.refuse("byte_fallback beside ByteLevel");
    }
  }

  void encode(std::string_view word, BpeScratch& scratch,
              std::vector<int32_t>& ids) const override {
    if (ignore_merges_) {
      const int32_t whole = pieces_.find(word);
      if (whole != kNoId) {
        ids.push_back(whole);
        return;
      }
    }
    cut(word, scratch.symbols);
    merge_symbols(scratch, [&](const Symbol& left, const Symbol& right) {
      return merges_.find(left.id, right.id);
    });
    append_ids(scratch, ids);
  }

 private:
  static void refuse_variants(const JsonField& field) {
    if (const auto dropout = field.find("dropout"); dropout && dropout->raw() != 0.0)
      dropout->refuse("dropout");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const auto affix = field.find(key); affix && !affix->string().empty())
        affix->refuse(key);
  }

  void add_piece(const std::string& piece, int32_t id) {
    if (!byte_level_)
      pieces_.add(id, piece);
    else if (const auto bytes = bytes_of_alphabet(piece))
      pieces_.add(id, *bytes);
    else
      pieces_.add_hidden(id, piece);  // outside the alphabet: no word can contain it
  }

  void read_merges(const JsonField& field, const Vocabulary& vocabulary) {
    if (!field.raw().is_array()) field.fail("is not a list");
    merges_ = MergeTable(field.raw().size());
    int32_t rank = 0;
    std::string left;
    std::string right;
    std::string whole;
    for (const nlohmann::json& merge : field.raw()) {
      const auto id_of = [&](const std::string& piece) {
        const int32_t id = vocabulary.find(piece);
        if (id == kNoId)
          throw Error(field.where() + "[" + std::to_string(rank) + "]",
                      "names the piece \"" + piece + "\", which the vocabulary lacks",
                      kFetchAgain);
        return id;
      };
      if (!read_pair(merge, left, right))
        throw Error(field.where() + "[" + std::to_string(rank) + "]",
                    "is not a pair of pieces", kFetchAgain);
      whole.assign(left).append(right);
      const int32_t left_id = id_of(left);
      const int32_t right_id = id_of(right);
      merges_.add(left_id, right_id, {rank, id_of(whole)});
      ++rank;
    }
  }

  // "left right", or ["left", "right"].
  static bool read_pair(const nlohmann::json& merge, std::string& left,
                        std::string& right) {
    if (merge.is_array()) {
      if (merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string())
        return false;
      left = merge[0].get_ref<const std::string&>();
      right = merge[1].get_ref<const std::string&>();
      return true;
    }
    if (!merge.is_string()) return false;
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
      return false;
    left.assign(text, 0, space);
    right.assign(text, space + 1);
    return true;
  }

  void read_byte_pieces(const Vocabulary& vocabulary) {
    byte_fallback_ = true;
    for (unsigned b = 0; b < 256; ++b) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", b);
      fallback_ids_[b] = vocabulary.find(name);
    }
  }

  // The word's characters, or bytes, as symbols. One that is no piece becomes its byte
  // pieces if all of them exist, else the unknown piece, else nothing.
  void cut(std::string_view word, std::vector<Symbol>& symbols) const {
    symbols.clear();
    bool pending_unknown = false;
    const auto add = [&](int32_t id) { symbols.push_back({.id = id}); };
    const auto end_unknown = [&] {
      if (pending_unknown) add(unknown_);
      pending_unknown = false;
    };
    for (size_t at = 0; at < word.size();) {
      const size_t size = byte_level_ ? 1 : utf8_at(word, at).size;
      const std::string_view character = word.substr(at, size);
      at += size;
      const int32_t id = byte_level_
                             ? byte_ids_[static_cast<unsigned char>(character.front())]
                             : pieces_.find(character);
      if (id != kNoId) {
        end_unknown();
        add(id);
      } else if (has_byte_pieces(character)) {
        // The reference library adds these before an unknown piece that is still pending.
        for (const char byte : character)
          add(fallback_ids_[static_cast<unsigned char>(byte)]);
      } else if (!unknown_piece_.empty()) {
        if (unknown_ == kNoId)
          throw Error(where_ + ".unk_token",
                      "is \"" + unknown_piece_ + "\", which the vocabulary lacks",
                      kFetchAgain);
        if (!fuse_unknown_) end_unknown();
        pending_unknown = true;
      }
    }
    end_unknown();
  }

  bool has_byte_pieces(std::string_view character) const {
    return byte_fallback_ && std::all_of(character.begin(), character.end(), [&](char c) {
             return fallback_ids_[static_cast<unsigned char>(c)] != kNoId;
           });
  }

  std::string where_;
  bool byte_level_;
  bool fuse_unknown_;
  bool ignore_merges_;
  bool byte_fallback_ = false;
  std::string unknown_piece_;
  int32_t unknown_ = kNoId;
  MergeTable merges_;
  std::array<int32_t, 256> byte_ids_{};
  std::array<int32_t, 256> fallback_ids_{};
};

}  // namespace

std::unique_ptr<Model> bpe_model(const JsonField& field, bool byte_level) {
  return std::make_unique<BpeModel>(field, byte_level);
}

}  // namespace lowmem::tokenization

#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "lowmem/tokenizer/tokenizer.h"
#include "tokenizer/folder_config.h"

namespace lowmem::tokenization {

// One opener a format. `path` is the file; `config` is that of its folder.
std::unique_ptr<Tokenizer> open_tokenizer_json(const std::filesystem::path& path,
                                               const FolderConfig& config);

// `content` is the file's.
std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& path,
                                              const std::string& content,
                                              const FolderConfig& config);
std::unique_ptr<Tokenizer> open_tiktoken(const std::filesystem::path& path,
                                         const std::string& content,
                                         const FolderConfig& config);

// The pattern that cuts texts into words in Meta's Llama-3 code.
std::string_view llama3_pattern();

// Throws Error when `text` is too long for 32-bit positions.
void check_length(std::string_view text);

}  // namespace lowmem::tokenization

#pragma once

#include <string_view>

namespace lowmem::tokenization {

// Whether the character maps of a SentencePiece model (`model` is its protobuf text) can
// be followed. The library walks them without looking where it steps, so that a damaged
// one makes it read memory that is not its own. True where there are none, as in Llama's
// own files. O(n), with 256 steps a node.
bool has_sound_character_maps(std::string_view model);

}  // namespace lowmem::tokenization

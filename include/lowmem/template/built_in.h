#pragma once

#include <string_view>

namespace lowmem::jinja {

// Chat templates of our own for formats that are published, with `generation` blocks
// around what the assistant says. They write turns of system, user and assistant, and
// refuse others by their number.
//
//   llama2      BOS "[INST] " user " [/INST]" " " assistant " " EOS, each pair. The
//   system
//               turn stands in the first user's: "<<SYS>>\n" system "\n<</SYS>>\n\n"
//               user. User and assistant alternate.
//   llama3      BOS, then each turn: <|start_header_id|> role <|end_header_id|> "\n\n"
//               content <|eot_id|>. (Llama 3.1 puts a date before them, which is left to
//               the system turn here.)
//   tinyllama   "<|role|>\n" content EOS "\n", each turn, without BOS
//   chatml      <|im_start|> role "\n" content <|im_end|> "\n", each turn, without BOS
//   mistral     BOS, then "[INST] " user "[/INST]" " " assistant EOS, each pair. The
//   system
//               turn stands in the first user's, with an empty line behind it. User and
//               assistant alternate.
//
// llama2 and llama3 take white space off both ends of a content, mistral of the
// assistant's. Empty for another name.
std::string_view built_in_template(std::string_view name);

}  // namespace lowmem::jinja

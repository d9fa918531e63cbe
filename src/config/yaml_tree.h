#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lowmem {

// A parsed YAML value with the line it stands on. Keys of a map are unique.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  struct Member;

  Kind kind = Kind::kNull;
  std::string text;             // kScalar
  bool quoted = false;          // kScalar: in quotes or a block, so never a number
  int line = 0;                 // from 1
  std::vector<YamlNode> items;  // kList
  std::vector<Member> members;  // kMap, in the order of the text
};

struct YamlNode::Member {
  std::string key;
  int line = 0;
  YamlNode value;
};

// The only document of `text`; kNull where it is empty. `source` names the text in
// errors. Depth is bounded while parsing, so that hostile nesting costs nothing.
YamlNode parse_yaml(std::string_view text, const std::string& source);

// "lowmem.yaml line 7"
std::string at_line(const std::string& source, int line);

}  // namespace lowmem

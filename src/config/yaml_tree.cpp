#include "config/yaml_tree.h"

#include <yaml-cpp/anchor.h>
#include <yaml-cpp/binary.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <optional>
#include <set>
#include <sstream>

#include "config/values.h"
#include "lowmem/core/error.h"

namespace lowmem {
namespace {

// What `!!binary` stands for: base64 of bytes that are no text (YAML 1.1, "binary").
constexpr std::string_view kBinary = "tag:yaml.org,2002:binary";
constexpr size_t kMaxDepth = 8;  // the configuration has three: file, section, list

// Line `line` of `text`, from 1.
std::string_view line_of(std::string_view text, int line) {
  for (; line > 1; --line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

// Builds the tree from the parser's events. What the configuration does not know is
// refused in the event itself: the parser recurses, and an exception is what stops it.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, const std::string& source)
      : text_(text), source_(source) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) refuse_second_document(mark);
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add(node(YamlNode::Kind::kNull, mark));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse_anchor(mark, 1);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    const bool binary = tag == kBinary;
    if (!binary) refuse_tag(mark, tag);
    if (tag == "!") refuse_open_quote(mark);
    YamlNode scalar = node(YamlNode::Kind::kScalar, mark);
    scalar.text = binary ? decoded(mark, value) : value;
    // How yaml-cpp marks whatever is not a plain scalar.
    scalar.quoted = binary || tag == "!";
    add(std::move(scalar));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    std::optional<YamlNode> key;  // of the map's member whose value comes next
    std::set<std::string> keys;
  };

  static YamlNode node(YamlNode::Kind kind, const YAML::Mark& mark) {
    YamlNode result;
    result.kind = kind;
    result.line = mark.line + 1;
    return result;
  }

  std::string at(const YAML::Mark& mark) const { return at_line(source_, mark.line + 1); }

  // yaml-cpp also takes whatever follows a finished value for a new document.
  [[noreturn]] void refuse_second_document(const YAML::Mark& mark) const {
    if (line_of(text_, mark.line + 1).starts_with("---"))
      throw Error(at(mark), "a second YAML document begins",
                  "Leave one document in the file: one file describes one run");
    throw Error(at(mark), "does not continue what stands above it",
                "Check the indentation and the quotes there and on the line before");
  }

  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor)
      throw Error(at(mark), "anchors (&) and aliases (*) are not supported",
                  "Write the value out, or put a text that begins with & or * in quotes");
  }

  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (!tag.empty() && tag != "?" && tag != "!")
      throw Error(at(mark), "tags (!) are not supported",
                  "Leave the tag out, or put a text that begins with ! in quotes");
  }

  std::string decoded(const YAML::Mark& mark, const std::string& base64) const {
    const std::vector<unsigned char> bytes = YAML::DecodeBase64(base64);
    // The decoder leaves out what it does not know.
    if (bytes.empty() || YAML::EncodeBase64(bytes.data(), bytes.size()) != base64)
      throw Error(at(mark), "is not the base64 that !!binary announces",
                  "Write the text in quotes and without the tag");
    return {bytes.begin(), bytes.end()};
  }

  // yaml-cpp takes the end of the text for the closing quote, and with it all that
  // follows.
  void refuse_open_quote(const YAML::Mark& mark) const {
    const size_t mark_bytes = text_.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    const auto begin = static_cast<size_t>(mark.pos) + mark_bytes;
    if (begin >= text_.size()) return;
    const char quote = text_[begin];
    if (quote != '"' && quote != '\'') return;  // | or >
    for (size_t i = begin + 1; i < text_.size(); ++i) {
      const bool doubled = quote == '\'' && text_.substr(i, 2) == "''";
      if (doubled || (quote == '"' && text_[i] == '\\'))
        ++i;  // the next character is not the end
      else if (text_[i] == quote)
        return;
    }
    throw Error(at(mark), "begins a quoted text that nothing ends",
                "Close the quote on the same line");
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    if (stack_.size() >= kMaxDepth)
      throw Error(at(mark), "is nested too deeply",
                  "Write sections with keys below them, and nothing deeper");
    stack_.push_back({node(kind, mark), std::nullopt, {}});
  }

  void close() {
    YamlNode done = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(done));
  }

  void add(YamlNode value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return;
    }
    Open& top = stack_.back();
    if (top.node.kind == YamlNode::Kind::kList) {
      top.node.items.push_back(std::move(value));
    } else if (top.key) {
      top.node.members.push_back(
          {std::move(top.key->text), top.key->line, std::move(value)});
      top.key.reset();
    } else {
      if (value.kind != YamlNode::Kind::kScalar)
        throw Error(at_line(source_, value.line), "a key is not a name",
                    "Write `key: value`, with the name of a key before the colon");
      if (!top.keys.insert(value.text).second)
        throw Error(at_line(source_, value.line),
                    "the key " + shown(value.text) + " is given twice",
                    "Remove one of the two lines");
      top.key = std::move(value);
    }
  }

  std::string_view text_;
  const std::string& source_;
  std::vector<Open> stack_;
  YamlNode root_;
  int documents_ = 0;
};

// What the user most likely did, from what stands where the parser gave up.
[[noreturn]] void refuse_syntax(std::string_view text, const std::string& source,
                                const YAML::Mark& mark) {
  if (mark.is_null())
    throw Error(source, "is not valid YAML", "Check that this is the file you meant");
  const std::string where = at_line(source, mark.line + 1);
  const std::string_view line = line_of(text, mark.line + 1);
  const size_t first = line.find_first_not_of(' ');
  if (first != std::string_view::npos && line[first] == '\t')
    throw Error(where, "is indented with a tab",
                "Indent with spaces: YAML does not allow tabs there");
  // `*` there would be an alias.
  const size_t star = line.substr(0, static_cast<size_t>(mark.column) + 1).rfind('*');
  if (star != std::string_view::npos &&
      (star == 0 ||
       std::string_view(" [{,").find(line[star - 1]) != std::string_view::npos))
    throw Error(where, "a text that begins with * is not in quotes",
                "Put it in quotes, as in \"*.mlp.*\"");
  throw Error(where, "is not valid YAML",
              "Check the indentation, quotes and brackets there and on the line before");
}

}  // namespace

std::string at_line(const std::string& source, int line) {
  return source + " line " + std::to_string(line);
}

YamlNode parse_yaml(std::string_view text, const std::string& source) {
  TreeBuilder builder(text, source);
  std::istringstream in{std::string(text)};
  try {
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    refuse_syntax(text, source, error.mark);
  }
  return builder.take();
}

}  // namespace lowmem

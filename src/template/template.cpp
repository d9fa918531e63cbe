#include "lowmem/template/template.h"

#include <algorithm>

#include "lowmem/core/error.h"
#include "lowmem/core/utf8.h"
#include "template/interpreter.h"
#include "template/parser.h"

namespace lowmem::jinja {
namespace {

constexpr size_t kLargest = size_t{1} << 20;

[[noreturn]] void raise(const std::string& name, const Failure& failure) {
  throw Error(name + " line " + std::to_string(failure.line), failure.problem,
              failure.remedy);
}

}  // namespace

struct Template::Parsed {
  std::string name;
  Tree tree;
};

Template::Template(std::string_view source, std::string name) {
  if (source.size() > kLargest)
    throw Error(name, "has more than 1 MiB", "Give the template of a chat model");
  if (!is_utf8(source))
    throw Error(name, "is not UTF-8", "Save it as UTF-8, or fetch it again");
  auto parsed = std::make_unique<Parsed>();
  parsed->name = std::move(name);
  try {
    parsed->tree = Parser(tokenize(source)).parse();
  } catch (const Failure& failure) {
    raise(parsed->name, failure);
  }
  parsed_ = std::move(parsed);
}

Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Rendered Template::render(const std::vector<std::pair<std::string, Value>>& variables,
                          const RenderOptions& options) const {
  try {
    return Interpreter(parsed_->tree, options).run(variables);
  } catch (const Failure& failure) {
    raise(parsed_->name, failure);
  }
}

bool Template::marks_generation() const { return parsed_->tree.marks_generation; }

bool Template::names(std::string_view name) const {
  const auto& names = parsed_->tree.names;
  return std::find(names.begin(), names.end(), name) != names.end();
}

const std::string& Template::name() const { return parsed_->name; }

}  // namespace lowmem::jinja

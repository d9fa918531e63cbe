#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lowmem/template/value.h"

// Chat templates: the part of Jinja that model folders are published with, rendered as
// transformers does (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, break and
// continue, `generation` blocks, its own tojson). A template sees its variables and
// nothing else: no file, clock, environment or program.
namespace lowmem::jinja {

struct Date {
  int year = 1970, month = 1, day = 1;
};

struct RenderOptions {
  Date now;  // what strftime_now() says, at midnight
  // A step is about a node of the template, 8 bytes of a text or a quarter of an item of
  // a list that are made on the way.
  int64_t most_steps = 20'000'000;
  size_t most_bytes = size_t{64} << 20;  // of the output, and of each text on the way
};

struct Rendered {
  Text text;
  // What `generation` blocks have written, as [begin, end) in bytes, in order.
  std::vector<std::pair<size_t, size_t>> generation;
};

class Template {
 public:
  // Parses. `name` stands in errors: "chat_template.jinja line 3". Throws Error for what
  // is no Jinja, for what of Jinja is not implemented (it names it), and for a template
  // of more than 1 MiB or nested deeper than 100.
  Template(std::string_view source, std::string name);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // Throws Error naming the line: what raise_exception() says, what Python would refuse,
  // and what exceeds the options' bounds or calls deeper than 100. Thread-safe.
  Rendered render(const std::vector<std::pair<std::string, Value>>& variables,
                  const RenderOptions& options) const;

  // Whether it has a `generation` block.
  bool marks_generation() const;
  // Whether it speaks of this name anywhere, as `strftime_now`.
  bool names(std::string_view name) const;
  const std::string& name() const;

 private:
  struct Parsed;
  std::unique_ptr<const Parsed> parsed_;
};

}  // namespace lowmem::jinja

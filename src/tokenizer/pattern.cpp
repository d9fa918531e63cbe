#include "tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>

#include "lowmem/core/error.h"
#include "tokenizer/utf8.h"

namespace lowmem::tokenization {
namespace {

constexpr const char* kRemedy = "Use another tokenizer file";

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* pointer) const { Free(pointer); }
};
using Code = std::unique_ptr<pcre2_code, Freed<pcre2_code, pcre2_code_free>>;
using MatchData =
    std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data, pcre2_match_data_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context,
                    Freed<pcre2_match_context, pcre2_match_context_free>>;
using CompileContext =
    std::unique_ptr<pcre2_compile_context,
                    Freed<pcre2_compile_context, pcre2_compile_context_free>>;
using JitStack =
    std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack, pcre2_jit_stack_free>>;

// Steps allowed to one match: enough for a pattern that looks at every character a few
// times, and a fraction of a second for one that does not.
uint32_t step_limit(size_t bytes) {
  return static_cast<uint32_t>(std::min<size_t>(1'000'000 + 16 * bytes, UINT32_MAX));
}

// What a search needs beside the pattern. Each thread has one.
struct Workspace {
  MatchData data{pcre2_match_data_create(1, nullptr)};
  MatchContext context{pcre2_match_context_create(nullptr)};
  JitStack stack{pcre2_jit_stack_create(32 << 10, 8 << 20, nullptr)};

  Workspace() {
    pcre2_set_heap_limit(context.get(), 64 << 10);  // KiB
    if (stack) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

}  // namespace

struct Pattern::Compiled {
  Code code;
  bool jit = false;
};

Pattern::Pattern(const std::string& pcre2, std::string where)
    : compiled_(std::make_unique<Compiled>()), where_(std::move(where)) {
  const CompileContext context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE at = 0;
  compiled_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pcre2.data()),
                                      pcre2.size(), PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C,
                                      &code, &at, context.get()));
  if (!compiled_->code)
    throw Error(where_, "is not a valid regular expression: " + pcre2, kRemedy);
  compiled_->jit = pcre2_jit_compile(compiled_->code.get(), PCRE2_JIT_COMPLETE) == 0;
}

Pattern::~Pattern() = default;

std::vector<Pattern::Match> Pattern::find_all(std::string_view text) const {
  std::vector<Match> matches;
  if (text.empty()) return matches;
  static thread_local const Workspace workspace;
  pcre2_match_data* data = workspace.data.get();
  pcre2_match_context* context = workspace.context.get();
  pcre2_set_match_limit(context, step_limit(text.size()));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data);

  for (size_t at = 0; at <= text.size();) {
    const int count = compiled_->jit
                          ? pcre2_jit_match(compiled_->code.get(), subject, text.size(),
                                            at, 0, data, context)
                          : pcre2_match(compiled_->code.get(), subject, text.size(), at,
                                        PCRE2_NO_UTF_CHECK, data, context);
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0)
      throw Error(
          where_,
          "takes too many steps on a text of " + std::to_string(text.size()) + " bytes",
          kRemedy);
    const Match match{bounds[0], bounds[1]};
    const bool after_match = !matches.empty() && matches.back().end == match.end;
    if (match.end > match.start || !after_match) matches.push_back(match);
    at = match.end;
    if (match.end == match.start) at += at < text.size() ? utf8_at(text, at).size : 1;
  }
  return matches;
}

}  // namespace lowmem::tokenization

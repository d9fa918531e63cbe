#include "tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <time.h>

#include <algorithm>
#include <cstdint>

#include "lowmem/core/error.h"
#include "lowmem/core/utf8.h"

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

constexpr size_t kLongestPattern = 1 << 20;  // bytes, after the classes are spelt out

// Steps allowed to a match at one place: enough for a pattern that looks at every
// character a few times.
uint32_t step_limit(size_t bytes) {
  return static_cast<uint32_t>(std::min<size_t>(10'000 + 16 * bytes, UINT32_MAX));
}

// PCRE2 counts steps anew at each place where a match could begin, and some work is no
// step, such as what .* passes over. So one call looks at few places, and between calls a
// search is held to this time. Common patterns take 0.04 microseconds a byte.
constexpr size_t kPlacesACall = 16;
constexpr int kCallsAClock = 16;
double most_seconds(size_t bytes) { return 2 + 1e-6 * static_cast<double>(bytes); }

// Of this thread, not of the clock on the wall: a stopped process is no slow pattern.
double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
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

// The first place after `at` where a character begins.
size_t next_character(std::string_view text, size_t at) {
  ++at;
  while (at < text.size() && (text[at] & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace

struct Pattern::Compiled {
  Code code;
  bool jit = false;
};

Pattern::Pattern(const std::string& pcre2, std::string where)
    : compiled_(std::make_unique<Compiled>()), where_(std::move(where)) {
  const CompileContext context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context.get(), kLongestPattern);
  int code = 0;
  PCRE2_SIZE at = 0;
  compiled_->code.reset(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pcre2.data()), pcre2.size(),
                    PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT, &code,
                    &at, context.get()));
  if (!compiled_->code)
    throw Error(where_, "is not a valid regular expression: " + pcre2, kRemedy);
  compiled_->jit = pcre2_jit_compile(compiled_->code.get(), PCRE2_JIT_COMPLETE) == 0;
}

Pattern::~Pattern() = default;

void Pattern::fail_on(std::string_view text) const {
  throw Error(
      where_,
      "takes too many steps on a text of " + std::to_string(text.size()) + " bytes",
      kRemedy);
}

std::vector<Pattern::Match> Pattern::find_all(std::string_view text) const {
  std::vector<Match> matches;
  if (text.empty()) return matches;
  static thread_local const Workspace workspace;
  pcre2_match_data* data = workspace.data.get();
  pcre2_match_context* context = workspace.context.get();
  pcre2_set_match_limit(context, step_limit(text.size()));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data);

  double deadline = 0;
  int calls = 0;
  for (size_t at = 0; at <= text.size();) {
    if (++calls % kCallsAClock == 0) {
      const double now = processor_seconds();
      if (calls == kCallsAClock) deadline = now + most_seconds(text.size());
      if (now > deadline) fail_on(text);
    }
    pcre2_set_offset_limit(context, at + kPlacesACall);
    const int count = compiled_->jit
                          ? pcre2_jit_match(compiled_->code.get(), subject, text.size(),
                                            at, 0, data, context)
                          : pcre2_match(compiled_->code.get(), subject, text.size(), at,
                                        PCRE2_NO_UTF_CHECK, data, context);
    if (count == PCRE2_ERROR_NOMATCH) {
      at = next_character(text, at + kPlacesACall);
      continue;
    }
    if (count < 0) fail_on(text);
    const Match match{bounds[0], bounds[1]};
    const bool after_match = !matches.empty() && matches.back().end == match.end;
    if (match.end > match.start || !after_match) matches.push_back(match);
    at = match.end;
    if (match.end == match.start) at += at < text.size() ? utf8_at(text, at).size : 1;
  }
  return matches;
}

}  // namespace lowmem::tokenization

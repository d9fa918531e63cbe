// What was counted, as JSON in $FAKE_GPU_REPORT when the program ends, and every call as
// a line of $FAKE_GPU_TRACE as it happens.
#include <dlfcn.h>
#include <execinfo.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {
namespace {

struct Products {
  int64_t count = 0;
  double flops = 0;
};
struct Bytes {
  int64_t count = 0, bytes = 0;
};
struct Totals {
  int64_t launches = 0, on_legacy_stream = 0;
  std::map<std::string, int64_t> kernels, host_waits;
  std::map<std::string, Products> products;
  std::map<std::string, Bytes> copies;
  Bytes fills;
  int64_t captures = 0, graph_launches = 0, graph_nodes = 0, beside_captures = 0,
          captured_host_copies = 0;
  size_t used = 0, peak = 0;
  std::vector<std::string> refused;
};
Totals& totals() {
  static auto* all = new Totals;
  return *all;
}

FILE* trace_file() {
  static FILE* file = [] {
    const char* path = getenv("FAKE_GPU_TRACE");
    FILE* opened = path == nullptr ? nullptr : fopen(path, "w");
    if (opened != nullptr) setvbuf(opened, nullptr, _IOLBF, 0);
    return opened;
  }();
  return file;
}

// Who called, innermost first, for addr2line -Cfe FILE OFFSET.
std::string callers() {
  constexpr int kDepth = 48;
  void* frames[kDepth];
  const int depth = backtrace(frames, kDepth);
  std::string text;
  for (int i = 0; i < depth; ++i) {
    Dl_info info;
    if (dladdr(frames[i], &info) == 0 || info.dli_fname == nullptr) continue;
    const std::string file = info.dli_fname;
    char offset[32];
    snprintf(offset, sizeof offset, "+%#lx",
             static_cast<unsigned long>(static_cast<char*>(frames[i]) -
                                        static_cast<char*>(info.dli_fbase)));
    text += " " + file.substr(file.rfind('/') + 1) + offset;
  }
  return text;
}

nlohmann::json as_json() {
  const Totals& t = totals();
  nlohmann::json products = nlohmann::json::object();
  int64_t product_count = 0, kernel_count = 0;
  double flops = 0;
  for (const auto& [name, product] : t.products) {
    products[name] = {{"count", product.count}, {"flops", product.flops}};
    product_count += product.count;
    flops += product.flops;
  }
  for (const auto& [name, count] : t.kernels) kernel_count += count;
  nlohmann::json copies = nlohmann::json::object();
  for (const auto& [direction, of] : t.copies)
    copies[direction] = {{"count", of.count}, {"bytes", of.bytes}};
  int64_t waits = 0;
  for (const auto& [call, count] : t.host_waits) waits += count;
  return {
      {"launches", t.launches},
      {"on_legacy_stream", t.on_legacy_stream},
      {"kernels", {{"count", kernel_count}, {"by_name", t.kernels}}},
      {"products", {{"count", product_count}, {"flops", flops}, {"by_shape", products}}},
      {"host_waits", {{"count", waits}, {"by_call", t.host_waits}}},
      {"copies", copies},
      {"fills", {{"count", t.fills.count}, {"bytes", t.fills.bytes}}},
      {"graphs",
       {{"captures", t.captures},
        {"launches", t.graph_launches},
        {"nodes", t.graph_nodes},
        {"beside_captures", t.beside_captures},
        {"captured_host_copies", t.captured_host_copies}}},
      {"memory", {{"peak_bytes", t.peak}, {"used_bytes", t.used}}},
      {"refused", t.refused}};
}

bool was_used() {
  const Totals& t = totals();
  return t.peak != 0 || t.launches != 0 || !t.refused.empty() || !t.host_waits.empty();
}

__attribute__((destructor)) void write_at_exit() {
  const char* path = getenv("FAKE_GPU_REPORT");
  FAKE_GPU_LOCK;
  if (path != nullptr && was_used()) std::ofstream(path) << as_json().dump(1) << "\n";
}

}  // namespace

void count(const Work& work) {
  Totals& t = totals();
  switch (work.kind) {
    case Work::Kind::kKernel:
      ++t.kernels[work.name];
      break;
    case Work::Kind::kProduct: {
      Products& of = t.products[work.name];
      ++of.count;
      of.flops += work.flops;
      break;
    }
    case Work::Kind::kCopy: {
      Bytes& of = t.copies[work.name];
      ++of.count;
      of.bytes += static_cast<int64_t>(work.bytes);
      break;
    }
    case Work::Kind::kFill:
      ++t.fills.count;
      t.fills.bytes += static_cast<int64_t>(work.bytes);
      break;
    case Work::Kind::kOther:
      break;
  }
}
void count_legacy_stream() { ++totals().on_legacy_stream; }
void count_launch() { ++totals().launches; }
void count_host_wait(const char* call) {
  ++totals().host_waits[call];
  if (trace_file() != nullptr) trace("host waits: %s, from%s", call, callers().c_str());
}
void count_capture() { ++totals().captures; }
void count_graph_launch(size_t nodes) {
  ++totals().graph_launches;
  totals().graph_nodes += static_cast<int64_t>(nodes);
}
void count_captured_host_copy() { ++totals().captured_host_copies; }
void count_beside_capture() { ++totals().beside_captures; }
void count_memory(size_t used) {
  Totals& t = totals();
  t.used = used;
  t.peak = std::max(t.peak, used);
}

void note_refused(const char* call, const std::string& why) {
  FAKE_GPU_LOCK;
  constexpr size_t kMost = 100;
  const std::string text = std::string(call) + ": " + why;
  fprintf(stderr, "fake GPU: refused %s\n", text.c_str());
  trace("refused %s, from%s", text.c_str(), callers().c_str());
  if (totals().refused.size() < kMost) totals().refused.push_back(text);
}

void trace(const char* format, ...) {
  FILE* file = trace_file();
  if (file == nullptr) return;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(file, format, arguments);
  va_end(arguments);
  fputc('\n', file);
}

// The report so far, for a program that looks for this function. The text is valid until
// the next call.
FAKE_GPU_API const char* fake_gpu_report() {
  FAKE_GPU_LOCK;
  static std::string text;
  text = as_json().dump();
  return text.c_str();
}

}  // namespace lowmem::fake_gpu

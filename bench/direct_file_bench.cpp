// A working file's bytes a second: 256 MiB written and read in turn, in requests of 64
// MiB, as the weights of a block are. DIRECT_FILE_FOLDER names the disk, by default that
// of the working folder.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "lowmem/io/direct_file.h"

namespace lowmem::bench {
namespace {

constexpr int64_t kBytes = int64_t{256} << 20, kRequest = int64_t{64} << 20;

using Memory = std::unique_ptr<std::byte, decltype(&std::free)>;

Memory memory_of(int64_t bytes) {
  auto* memory = std::aligned_alloc(DirectFile::kAlignment, static_cast<size_t>(bytes));
  std::memset(memory, 'x', static_cast<size_t>(bytes));
  return {static_cast<std::byte*>(memory), std::free};
}

template <class Give>
void transfer_all(DirectFile& file, std::byte* memory, Give give) {
  for (int64_t at = 0; at < kBytes; at += kRequest)
    give(at, std::span(memory + at, static_cast<size_t>(kRequest)));
  file.wait_all();
}

// `reads`, `writes`: which of the two an iteration does; with both, the reads of one part
// are under way with the writes of another.
void transfers(benchmark::State& state, DirectFile::Way way, bool reads, bool writes) {
  const char* folder = std::getenv("DIRECT_FILE_FOLDER");
  DirectFile file(folder != nullptr ? folder : ".", way);
  file.extend(2 * kBytes);
  const Memory in = memory_of(kBytes), out = memory_of(kBytes);
  const auto write_at = [&](int64_t base) {
    return [&, base](int64_t at, auto bytes) { file.write(base + at, bytes); };
  };
  transfer_all(file, out.get(), write_at(0));  // blocks that were never written are slow
  transfer_all(file, out.get(), write_at(kBytes));
  for (auto _ : state) {
    transfer_all(file, out.get(), [&](int64_t at, auto bytes) {
      if (reads) file.read(at, {in.get() + at, bytes.size()});
      if (writes) file.write(kBytes + at, bytes);
    });
  }
  state.SetBytesProcessed(state.iterations() * kBytes * (reads + writes));
  state.SetLabel(file.way());
}

void each_way(const std::string& name, bool reads, bool writes) {
  using Way = DirectFile::Way;
  const std::pair<const char*, Way> ways[] = {
      {"ring", Way::kRing}, {"threads", Way::kThreads}, {"page_cache", Way::kPageCache}};
  for (const auto& [word, way] : ways)
    benchmark::RegisterBenchmark((name + "/" + word).c_str(), transfers, way, reads,
                                 writes)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace lowmem::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  lowmem::bench::each_way("read", true, false);
  lowmem::bench::each_way("write", false, true);
  lowmem::bench::each_way("read+write", true, true);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}

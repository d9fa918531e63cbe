#include "lowmem/core/random.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <system_error>
#include <thread>
#include <vector>

#include "lowmem/core/units.h"
#include "lowmem/io/convert.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/weights/carried_files.h"
#include "lowmem/weights/hf_folder.h"

namespace lowmem::weights {
namespace {

// Elements a slice: what is in memory at once, and the unit of the threads' work.
constexpr int64_t kSlice = 1 << 20;

// Normal numbers [first, first + out.size()) of stream `stream`; `first` and the size are
// multiples of 4. Box & Muller 1958 over Philox, two pairs a counter.
void fill_normal(std::span<float> out, uint64_t seed, uint64_t stream, int64_t first,
                 float deviation) {
  constexpr float kTurn = 2 * std::numbers::pi_v<float>;
  for (size_t i = 0; i < out.size(); i += 4) {
    const auto bits = philox(seed, static_cast<uint64_t>(first / 4) + i / 4, stream);
    for (size_t pair = 0; pair < 4; pair += 2) {
      const float u = (static_cast<float>(bits[pair] >> 8) + 1) * 0x1p-24f;  // (0, 1]
      const float v = static_cast<float>(bits[pair + 1] >> 8) * 0x1p-24f;
      const float radius = deviation * std::sqrt(-2 * std::log(u));
      out[i + pair] = radius * std::cos(kTurn * v);
      out[i + pair + 1] = radius * std::sin(kTurn * v);
    }
  }
}

// One slice of one weight, as numbers.
void fill(std::vector<float>& out, const Spec& spec, uint64_t seed, uint64_t stream,
          int64_t first, float deviation) {
  if (spec.kind != Kind::kMatrix) {
    std::fill(out.begin(), out.end(), spec.kind == Kind::kNorm ? 1.0f : 0.0f);
    return;
  }
  const size_t size = out.size();
  out.resize((size + 3) / 4 * 4);
  const auto threads =
      static_cast<size_t>(std::clamp(std::thread::hardware_concurrency(), 1u, 16u));
  const size_t share = (out.size() / threads + 4) / 4 * 4;  // at least 4
  std::vector<std::jthread> workers;
  for (size_t at = 0; at < out.size(); at += share) {
    const auto work = [&, at] {
      fill_normal(std::span(out).subspan(at, std::min(share, out.size() - at)), seed,
                  stream, first + static_cast<int64_t>(at), deviation);
    };
    try {
      workers.emplace_back(work);
    } catch (const std::system_error&) {  // where the process may have no more threads
      work();
    }
  }
  workers.clear();  // joins
  out.resize(size);
}

}  // namespace

void write_random(const std::vector<Spec>& specs, double deviation,
                  const std::filesystem::path& config_file,
                  const std::filesystem::path& folder, DType dtype, uint64_t seed,
                  int64_t max_shard_bytes) {
  create_model_folder(config_file, folder, dtype);
  int64_t all = 0;
  for (const Spec& spec : specs) all += spec.elements() * dtype_size(dtype);
  metrics::Progress progress("writing " + folder.string(), all,
                             metrics::Progress::Unit::kBytes);

  WeightsWriter writer(folder, file_tensors(specs, dtype), max_shard_bytes);
  std::vector<float> numbers;
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < specs.size(); ++i) {
    const int64_t count = specs[i].elements();
    for (int64_t first = 0; first < count; first += kSlice) {
      numbers.resize(static_cast<size_t>(std::min(kSlice, count - first)));
      fill(numbers, specs[i], seed, i, first, static_cast<float>(deviation));
      bytes.resize(numbers.size() * static_cast<size_t>(dtype_size(dtype)));
      const auto* source = reinterpret_cast<const std::byte*>(numbers.data());
      if (dtype == DType::kF32)
        std::memcpy(bytes.data(), source, bytes.size());
      else
        convert(DType::kF32, source, dtype, bytes.data(),
                static_cast<int64_t>(numbers.size()));
      writer.write(specs[i].file_name(), bytes);
      progress.add(static_cast<int64_t>(bytes.size()));
    }
  }
  writer.finish();
}

}  // namespace lowmem::weights

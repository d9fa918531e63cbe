#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "lowmem/weights/adapter.h"

// What an adapter begins with. Most begin as nothing: B is 0, or AdaLoRA's E. PiSSA (Meng
// et al. 2024) and OLoRA (Buyukakyuz 2024) begin with a part of W itself, scale * B @ A,
// which is taken from W, so that the sum is W still; LoftQ (Li et al. 2023) with the part
// of what quantizing lost that a pair of this rank can hold. Each further iteration makes
// codes anew, of W less the pair so far, and a pair of what these lose.
namespace lowmem::weights {

// Whether the pairs begin as nothing: B = 0, or E = 0.
bool starts_as_nothing(const AdapterConfig& adapter);
// Whether W is no longer the model folder's once the adapter has begun.
bool takes_from_base(const AdapterConfig& adapter);
// Whether the codes are no longer those that quantizing W gives.
bool makes_codes_anew(const AdapterConfig& adapter);

// What such an adapter is beside W as it was: pairs of twice the rank, [A; A0] and
// [B, -B0], with the same scale, that begin like any other. Others as they are.
AdapterConfig beside_whole_base(const AdapterConfig& adapter);

// Throws Error where it cannot begin beside these weights of `model`: more directions are
// asked for than a matrix has, or numbers of one that lies in codes.
void check_start(const std::vector<Spec>& specs, const AdapterConfig& adapter,
                 const std::filesystem::path& model);

// Gives an adapter's matrices what they begin with, the same for equal seeds and weights,
// and takes from the model's what it has to; the magnitudes are the norms of the sum's
// rows. The home has the weights of `model`, a Hugging Face folder. Costs a decomposition
// a layer (ops/principal) where the beginning is of W.
void start_adapter(Home& home, const AdapterConfig& adapter, uint64_t seed,
                   const std::filesystem::path& model);

// Writes the pairs as they are, those of an adapter that has begun and not been trained
// yet: what take_from_base() takes of a model that is loaded anew, to the same bits on
// any machine.
void write_start(Home& home, const AdapterConfig& adapter,
                 const std::filesystem::path& file);
void take_from_base(Home& home, const AdapterConfig& adapter,
                    const std::filesystem::path& file);

// The pairs of such a file. Throws Error for one that is not this adapter's.
struct StartPair {
  at::Tensor a, b;  // [rank, in], [out, rank] fp32
};
StartPair read_start(const std::filesystem::path& file, const AdapterLayer& layer);

// A rehearsal's: the room that beginning takes at the layer that it takes most at.
void rehearse_start(Home& home, const AdapterConfig& adapter);

}  // namespace lowmem::weights

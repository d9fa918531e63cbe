#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/ops/stored_matrix.h"
#include "lowmem/weights/table.h"

// model.quantize: the blocks' matrices that are not trained lie in codes. Such a matrix
// is several weights of the table, in its group: its codes, under its own name, and what
// gives them their scale, under the names of bitsandbytes' folders. What has a home,
// moves, is counted and fingerprinted is these; ops::StoredMatrix is the matrix.
namespace lowmem::weights {

// The form that the configuration asks for, and the configuration that asks for it.
Stored form_of(const ModelConfig& model);
void set_form(ModelConfig& model, Stored form);

// A model's specs, or those with an adapter's, with the matrices that the configuration
// quantizes in parts. Throws Error where it leaves none.
std::vector<Spec> with_quantized(std::vector<Spec> specs, const RunConfig& config);

// The specs of the model that a table holds, as folders have it: without an adapter's,
// and quantized matrices whole.
std::vector<Spec> model_specs(const Table& table);

// Of a quantized matrix's part, the matrix as folders have it.
Spec matrix_spec(const Spec& part);

// What the linear layer `module` multiplies by, in whatever form. Its tensors have
// numbers while the group is borrowed.
ops::StoredMatrix matrix_of(const Table& table, const std::string& module);

// The weights that a quantized matrix is made of, of which the first holds its codes.
std::vector<Weight*> parts_of(Table& table, const Weight& codes);

// Quantizes a matrix of which `read(first, values)` gives the elements from `first` on as
// fp32, a piece at a time: the parts, in memory of their own. Throws std::domain_error
// where int8 meets a number beyond fp16.
ops::StoredMatrix quantize(const Spec& codes,
                           const std::function<void(int64_t, at::Tensor&)>& read);

// As many bytes as quantize() takes for the largest matrix of the table, and its result.
at::Tensor room_to_quantize(const Table& table);

}  // namespace lowmem::weights

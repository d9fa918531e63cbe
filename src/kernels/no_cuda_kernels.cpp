// Device kernels in a build for the CPU: nobody gets so far as to call them, since there
// is no device to ask for memory.
#include "lowmem/core/error.h"
#include "lowmem/kernels/adafactor.h"
#include "lowmem/kernels/adam.h"
#include "lowmem/kernels/cross_entropy.h"
#include "lowmem/kernels/dropout.h"
#include "lowmem/kernels/embedding.h"
#include "lowmem/kernels/int8_rows.h"
#include "lowmem/kernels/nf4.h"
#include "lowmem/kernels/norm.h"
#include "lowmem/kernels/place.h"
#include "lowmem/kernels/rms_norm.h"
#include "lowmem/kernels/rotary.h"
#include "lowmem/kernels/sgd.h"
#include "lowmem/kernels/swiglu.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

[[noreturn]] void refuse() {
  throw Error("memory.device = cuda", "this lowmem-train was built for the CPU",
              "Build with -DLOWMEM_CUDA=ON, or set memory.device = cpu");
}

}  // namespace

bool on_cpu() { return false; }

void squared_norms(const ConstArray&, int64_t, int64_t, double*, Stream) { refuse(); }
void add_squared_norms(const double*, int64_t, double*, Stream) { refuse(); }

void rms_norm(const RmsNormArgs&, Array, int64_t, Stream) { refuse(); }
void rms_norm_backward(const RmsNormArgs&, ConstArray, Array, float*, float*, int64_t,
                       Stream) {
  refuse();
}
int64_t rms_norm_workspace(int64_t, int64_t) { refuse(); }

void swiglu(const SwigluArgs&, Array, int64_t, int64_t, Stream) { refuse(); }
void swiglu_backward(const SwigluArgs&, Array, int64_t, Stream) { refuse(); }

void rotary(const RotaryArgs&, Array, int64_t, Stream) { refuse(); }

void softmax_slice(const LogitSlice&, const SoftmaxRows&, bool, int64_t, Stream) {
  refuse();
}
void cross_entropy_gradient(const LogitSlice&, const float*, float, int64_t, Stream) {
  refuse();
}

void embedding_gradient(const EmbeddingArgs&, Array, Stream) { refuse(); }

void dropout(const DropoutArgs&, int64_t, Stream) { refuse(); }

void quantize_nf4(const ConstArray&, int64_t, uint8_t*, float*, Stream) { refuse(); }
void dequantize_nf4(const Nf4View&, int64_t, int64_t, int64_t, int64_t, Array, Stream) {
  refuse();
}
void quantize_absmax(const float*, int64_t, uint8_t*, float*, float*, Stream) {
  refuse();
}

void quantize_int8(const ConstArray&, int64_t, int64_t, int8_t*, float*, int64_t*,
                   Stream) {
  refuse();
}
void dequantize_int8(const int8_t*, const float*, int64_t, int64_t, int64_t, Array,
                     Stream) {
  refuse();
}

void sgd(const SgdArgs&, int64_t, int64_t, const Pending&, RoundingReport*, Stream) {
  refuse();
}
void adam(const AdamArgs&, int64_t, int64_t, const Pending&, RoundingReport*, Stream) {
  refuse();
}

void adafactor_statistics(const AdafactorArgs&, int64_t, int64_t, const Pending&, double*,
                          double*, float*, void*, Stream) {
  refuse();
}
int64_t adafactor_workspace(int64_t, int64_t) { refuse(); }
void adafactor_averages(const AdafactorArgs&, const AdafactorAverages&, const double*,
                        const double*, const float*, const Pending&, Stream) {
  refuse();
}
void adafactor_update_norm(const AdafactorArgs&, int64_t, int64_t, const Pending&,
                           double*, Stream) {
  refuse();
}
void adafactor_factor(int64_t, const double*, const double*, double, double,
                      const Pending&, float*, Stream) {
  refuse();
}
void adafactor_write(const AdafactorArgs&, const float*, int64_t, int64_t, const Pending&,
                     RoundingReport*, Stream) {
  refuse();
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE

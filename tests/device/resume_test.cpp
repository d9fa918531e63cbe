// A run on a device goes on exactly, too.
#include "train/resume.h"

#include "device/device.h"

namespace lowmem::train {
namespace {

class DeviceResume : public DemoFolder {};

// Few weights: every element of an update is a thread, which emulation takes its time
// over.
TEST_F(DeviceResume, IsExact) {
  const test::DeviceScope device;
  for (const char* optimizer : {"adam", "adafactor"})
    expect_exact_resume(config(OptimizerKind::kAdam, 3e-3),
                        {std::string("optimizer.name=") + optimizer, "model.dtype=bf16",
                         "model.compute_dtype=bf16", "train.batch_size=2",
                         "model.train=*.down_proj.*", "eval.limit=2"});
}

}  // namespace
}  // namespace lowmem::train

// Kernels of the device on memory of the CPU, switched on and off.
#include "device/device.h"
#include "lowmem/kernels/place.h"

namespace lowmem {

static bool g_emulates = false;

bool kernels::cuda::on_cpu() { return g_emulates; }

namespace test {

c10::Device device() { return c10::kCPU; }

DeviceScope::DeviceScope() { g_emulates = true; }
DeviceScope::~DeviceScope() { g_emulates = false; }

}  // namespace test
}  // namespace lowmem

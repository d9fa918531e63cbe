// The device's dropout against the CPU's.
#include "lowmem/kernels/dropout.h"

#include "emulation/support.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

TEST(EmulatedDropout, IsThatOfTheCpu) {
  const std::vector<int64_t> rows{5, 0, 9, 2, 3};
  const auto count = static_cast<int64_t>(rows.size());
  for (const int64_t columns : test::lengths())
    for (const int64_t first : {0, 3, 8})
      for (const int64_t shift : test::kShifts) {
        SCOPED_TRACE(testing::Message() << columns << " from " << first);
        const auto run = [&](const auto& leave_out) {
          Numbers values(count * columns, DType::kF32, shift, 1);
          leave_out(DropoutArgs{.values = values.as<float>(),
                                .stride = columns,
                                .rows = rows.data(),
                                .first = first,
                                .columns = columns,
                                .width = first + columns + 5,
                                .left_out = 13107,
                                .scale = 1.25f,
                                .noise = {7, 3, 0x80000011}});
          return values.bytes();
        };
        const std::string want =
            run([&](const DropoutArgs& args) { dropout(args, 0, count); });
        EXPECT_TRUE(test::for_all_launches([&] {
                      return run([&](const DropoutArgs& args) {
                        emulated::dropout(args, count, nullptr);
                      });
                    }) == want);
      }
}

}  // namespace
}  // namespace lowmem::kernels

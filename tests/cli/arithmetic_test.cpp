// What decides the last bits of a result: recorded, and said where a run goes on with
// something else.
#include <gmock/gmock.h>

#include "cli/program.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr, testing::Not;

class LastBits : public DemoProgram {
 protected:
  static Outcome run(const std::string& environment, const std::string& more) {
    return run_command(
        environment + " " + LOWMEM_TRAIN +
        with_last_values(quick("bits") +
                         "train.save_every=2 model.dtype=bf16 model.compute_dtype=bf16 " +
                         more));
  }
};

TEST_F(LastBits, ThatMayDifferAfterABreakAreSaid) {
  const std::string none = "env -u ONEDNN_MAX_CPU_ISA OMP_NUM_THREADS=1";
  ASSERT_EQ(run(none, "train.max_steps=2").status, 0);
  EXPECT_EQ(results("bits")["versions"]["threads"], "1");
  EXPECT_FALSE(results("bits")["versions"].contains("ONEDNN_MAX_CPU_ISA"));

  const Outcome same = run(none, "train.max_steps=4 --resume");
  EXPECT_EQ(same.status, 0);
  EXPECT_THAT(same.output, Not(HasSubstr("last bits")));

  const Outcome other =
      run("ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1", "train.max_steps=6 --resume");
  EXPECT_EQ(other.status, 0);
  EXPECT_THAT(other.output,
              HasSubstr("warning: goes on with ONEDNN_MAX_CPU_ISA = AVX2 after none: the "
                        "last bits of the result may differ"));
  EXPECT_EQ(results("bits")["versions"]["ONEDNN_MAX_CPU_ISA"], "AVX2");

  const Outcome back =
      run("env -u ONEDNN_MAX_CPU_ISA OMP_NUM_THREADS=2", "train.max_steps=8 --resume");
  EXPECT_EQ(back.status, 0);
  EXPECT_THAT(back.output,
              HasSubstr("ONEDNN_MAX_CPU_ISA = none after AVX2, threads = 2 after 1"));
}

}  // namespace
}  // namespace lowmem::test

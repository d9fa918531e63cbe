#include <ATen/ATen.h>

#include <utility>

#include "activations_policies.h"
#include "kept_away.h"
#include "lowmem/core/log.h"
#include "lowmem/memory/pages.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/weights/working_file.h"

namespace lowmem::engine {
namespace {

using weights::whole_sectors;

// What is kept of one block for one micro-batch: the pages of its tensors, on their way
// to the disk, there, on their way back, or here.
class KeptPages final : public Away {
 public:
  KeptPages(Space& space, Order<KeptPages>& order, std::vector<memory::Pages> pages)
      : space_(space), order_(order), pages_(std::move(pages)) {
    int64_t bytes = 0;
    for (const memory::Pages& each : pages_) bytes += size_of(each);
    offset_ = space_.take(bytes);
    each_range([&](int64_t offset, std::span<std::byte> memory) {
      tickets_.push_back(space_.store->write(offset, memory));
    });
  }
  KeptPages(const KeptPages&) = delete;
  KeptPages& operator=(const KeptPages&) = delete;

  // Nothing may be read into memory that is no more, nor memory go that is not counted.
  ~KeptPages() override {
    for (const weights::Store::Ticket ticket : tickets_) {
      space_.store->forget(ticket);
      try {
        space_.store->wait(ticket);
      } catch (const std::exception&) {
        // Then nothing is under way any more, and whoever waits next is told.
      }
    }
    if (!here_)
      for (memory::Pages& each : pages_) each.come();
    order_.forget(this);
    space_.give_back();
  }

  // Where it has been written; waits for that.
  void leave() {
    if (!std::exchange(leaving_, false)) return;
    wait();
    for (memory::Pages& each : pages_) each.leave();
    here_ = false;
  }
  void read() {
    if (std::exchange(here_, true)) return;
    for (memory::Pages& each : pages_) each.come();
    each_range([&](int64_t offset, std::span<std::byte> memory) {
      tickets_.push_back(space_.store->read(offset, memory));
    });
  }
  void wait() {
    for (const weights::Store::Ticket ticket : tickets_) space_.store->wait(ticket);
    tickets_.clear();
  }

 private:
  static int64_t size_of(const memory::Pages& pages) {
    return whole_sectors(static_cast<int64_t>(pages.span().size()));
  }
  template <class Use>
  void each_range(Use&& use) {
    int64_t offset = offset_;
    for (const memory::Pages& each : pages_) {
      use(offset, each.span());
      offset += size_of(each);
    }
  }

  Space& space_;
  Order<KeptPages>& order_;
  std::vector<memory::Pages> pages_;
  std::vector<weights::Store::Ticket> tickets_;
  int64_t offset_ = 0;
  bool here_ = true, leaving_ = true;
};

// memory.kept = disk: what another policy keeps of a block is written to the disk while
// the next block computes, leaves memory, and is read again before its backward pass;
// what that pass meets first stays. Tensors remain what and where they are, and only the
// pages behind them go: so it makes no difference whether they are a block's input or the
// graph of all its operations.
class KeptOnDisk final : public Waiting<KeptPages> {
 public:
  KeptOnDisk(std::unique_ptr<Activations> policy, const ActivationsSetup& setup)
      : Waiting(std::move(policy), setup,
                std::make_unique<weights::WorkingFile>(setup.scratch)) {
    if (!memory::rehearsing())
      log::info("what is kept of a block waits " + space_.store->where());
  }

  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) override {
    at::Tensor output;
    std::vector<memory::Pages> pages;
    {
      const memory::BlockRecord record;
      output = policy_->forward(call, input, saved);
      for (const void* made : record.blocks())
        if (made != output.storage().data()) pages.emplace_back(made);
    }
    if (saved.input.defined()) pages.emplace_back(saved.input.storage().data());
    std::erase_if(pages, [](const memory::Pages& each) { return each.span().empty(); });
    if (may_go(call) && !pages.empty()) let_go(call, saved, std::move(pages));
    return output;
  }

  at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                      SavedBlock& saved) override {
    back(call, saved);
    saved.away.reset();
    return policy_->backward(call, std::move(output_gradient), saved);
  }
};

}  // namespace

std::unique_ptr<Activations> make_kept_on_disk(std::unique_ptr<Activations> policy,
                                               const ActivationsSetup& setup) {
  return std::make_unique<KeptOnDisk>(std::move(policy), setup);
}

}  // namespace lowmem::engine

// The threads of an emulated GPU: fibers, all of them on one thread of the host.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "emulation/context.h"
#include "emulation/cuda.h"
#include "emulation/guarded.h"
#include "emulation/sanitizer.h"

namespace emulation {
namespace {

constexpr size_t kStackBytes = 256 << 10;

struct Fiber {
  enum class State { kReady, kAtBarrier, kInWarp, kEnded };

  Index index;
  State state = State::kReady;
  Place place;             // where it waits
  uint32_t mask = 0;       // of the lanes that it waits for
  uint64_t given = 0;      // to the other lanes
  uint64_t values[kWarp];  // what they gave
  Context context;
  void* stack = nullptr;
  void* fake_stack = nullptr;  // the sanitizer's
};

// Stacks are asked for once: a kernel's blocks use the same ones.
void* stack_of(size_t thread) {
  static std::vector<void*> stacks;
  while (stacks.size() <= thread) {
    void* const stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) throw Failure("no memory for a stack");
    stacks.push_back(stack);
  }
  return stacks[thread];
}

struct SharedArray {
  SharedArray(const void* declaration, size_t bytes) : key(declaration), array(bytes) {
    std::memset(array.begin(), 0xff, bytes);
  }
  const void* key;
  Guarded array;
};

std::string place_of(const Place& place) {
  const std::string file = place.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(place.line());
}
bool same(const Place& a, const Place& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() ||
          std::strcmp(a.file_name(), b.file_name()) == 0);
}

// A block while it runs.
class Block {
 public:
  Block(int threads, const std::function<void()>& thread) : thread_(thread) {
    fibers_.reserve(static_cast<size_t>(threads));
    for (int i = 0; i < threads; ++i) {
      fibers_.push_back(std::make_unique<Fiber>());
      fibers_.back()->stack = stack_of(static_cast<size_t>(i));
    }
  }

  void run();
  void wait(Fiber::State state, uint32_t mask, uint64_t given, Place place);
  void* shared(const void* key, size_t bytes);
  const Fiber& current() const { return *current_; }

 private:
  static void enter_thread();
  void start(Fiber& fiber, unsigned index);
  void resume(Fiber& fiber);
  void leave(bool for_good);
  void release_block();
  bool run_warp(size_t first);
  void release_lanes(size_t first, size_t lanes);
  Failure stuck() const;
  std::string state_of(const Fiber& fiber) const;

  const std::function<void()>& thread_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::unique_ptr<SharedArray>> shared_;
  Fiber* current_ = nullptr;
  std::exception_ptr failure_;
  Context host_;
  void* host_fake_stack_ = nullptr;
  const void* host_stack_ = nullptr;
  size_t host_stack_bytes_ = 0;
};

Block* running = nullptr;

void Block::start(Fiber& fiber, unsigned index) {
  fiber.index = {index, 0, 0};
  fiber.state = Fiber::State::kReady;
  // A fiber that was given up leaves the marks of its frames.
  sanitizer::allow(fiber.stack, kStackBytes);
  prepare(fiber.context, fiber.stack, kStackBytes, &Block::enter_thread);
}

void Block::enter_thread() {
  Block& block = *running;
  sanitizer::arrived(nullptr, &block.host_stack_, &block.host_stack_bytes_);
  try {
    block.thread_();
  } catch (...) {
    block.failure_ = std::current_exception();
  }
  block.leave(/*for_good=*/true);
}

void Block::resume(Fiber& fiber) {
  current_ = &fiber;
  threadIdx = fiber.index;
  sanitizer::about_to_switch(&host_fake_stack_, fiber.stack, kStackBytes);
  switch_context(host_, fiber.context);
  sanitizer::arrived(host_fake_stack_, nullptr, nullptr);
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void Block::leave(bool for_good) {
  Fiber& own = *current_;
  if (for_good) own.state = Fiber::State::kEnded;
  sanitizer::about_to_switch(for_good ? nullptr : &own.fake_stack, host_stack_,
                             host_stack_bytes_);
  switch_context(own.context, host_);
  sanitizer::arrived(own.fake_stack, nullptr, nullptr);
}

void Block::wait(Fiber::State state, uint32_t mask, uint64_t given, Place place) {
  Fiber& own = *current_;
  own.state = state;
  own.mask = mask;
  own.given = given;
  own.place = place;
  leave(/*for_good=*/false);
}

void Block::run() {
  const size_t count = fibers_.size();
  shared_.clear();
  for (size_t i = 0; i < count; ++i) start(*fibers_[i], static_cast<unsigned>(i));
  const size_t warps = (count + kWarp - 1) / kWarp;
  while (true) {
    bool moved = false;
    for (size_t i = 0; i < warps; ++i)
      moved = run_warp((settings().backwards ? warps - 1 - i : i) * kWarp) || moved;
    const auto has_ended = [](const auto& fiber) {
      return fiber->state == Fiber::State::kEnded;
    };
    if (std::all_of(fibers_.begin(), fibers_.end(), has_ended)) break;
    if (!moved) throw stuck();
    release_block();
  }
  for (const auto& array : shared_)
    if (!array->array.is_whole())
      throw Failure("a thread wrote outside of an array in shared memory");
}

// Runs a warp as far as it comes without the others, so that it is as far ahead of them
// as it can be. Returns whether it came on at all.
bool Block::run_warp(size_t first) {
  const size_t lanes = std::min<size_t>(kWarp, fibers_.size() - first);
  bool moved = false, ready = true;
  while (ready) {
    ready = false;
    for (size_t i = 0; i < lanes; ++i) {
      Fiber& fiber = *fibers_[first + (settings().backwards ? lanes - 1 - i : i)];
      if (fiber.state != Fiber::State::kReady) continue;
      resume(fiber);
      ready = moved = true;
    }
    release_lanes(first, lanes);
  }
  return moved;
}

// Lets the threads go on that have all reached one barrier.
void Block::release_block() {
  for (const auto& fiber : fibers_)
    if (fiber->state != Fiber::State::kAtBarrier ||
        !same(fiber->place, fibers_[0]->place))
      return;
  for (const auto& fiber : fibers_) fiber->state = Fiber::State::kReady;
}

// Lets the lanes go on whose whole mask has arrived.
void Block::release_lanes(size_t first, size_t lanes) {
  for (size_t lead = 0; lead < lanes; ++lead) {
    const Fiber& leader = *fibers_[first + lead];
    if (leader.state != Fiber::State::kInWarp) continue;
    const uint32_t mask = leader.mask;
    const auto arrived = [&](size_t lane) {
      if (lane >= lanes) return false;
      const Fiber& fiber = *fibers_[first + lane];
      return fiber.state == Fiber::State::kInWarp && fiber.mask == mask &&
             same(fiber.place, leader.place);
    };
    bool all = true;
    for (size_t lane = 0; lane < kWarp; ++lane)
      if ((mask >> lane & 1) != 0 && !arrived(lane)) all = false;
    if (!all) continue;
    for (size_t lane = 0; lane < lanes; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      Fiber& fiber = *fibers_[first + lane];
      for (size_t other = 0; other < lanes; ++other)
        fiber.values[other] = fibers_[first + other]->given;
      fiber.state = Fiber::State::kReady;
    }
  }
}

std::string Block::state_of(const Fiber& fiber) const {
  const std::string thread = "thread " + std::to_string(fiber.index.x);
  switch (fiber.state) {
    case Fiber::State::kAtBarrier:
      return thread + " waits for its block at " + place_of(fiber.place);
    case Fiber::State::kInWarp: {
      char mask[16];
      std::snprintf(mask, sizeof mask, "0x%08x", fiber.mask);
      return thread + " waits for lanes " + mask + " at " + place_of(fiber.place);
    }
    case Fiber::State::kEnded:
      return thread + " has ended";
    case Fiber::State::kReady:
      break;
  }
  return thread + " runs";
}

// What two threads wait for that will not come.
Failure Block::stuck() const {
  const Fiber* one = nullptr;
  for (const auto& fiber : fibers_)
    if (one == nullptr && fiber->state != Fiber::State::kEnded) one = fiber.get();
  std::string what =
      "divergent: in block " + std::to_string(blockIdx.x) + ", " + state_of(*one);
  for (const auto& fiber : fibers_)
    if (fiber->state != one->state || !same(fiber->place, one->place) ||
        fiber->mask != one->mask)
      return Failure(what + ", while " + state_of(*fiber));
  return Failure(what + ", which is not a whole warp");
}

void* Block::shared(const void* key, size_t bytes) {
  for (const auto& array : shared_)
    if (array->key == key) return array->array.begin();
  shared_.push_back(std::make_unique<SharedArray>(key, bytes));
  return shared_.back()->array.begin();
}

}  // namespace

Settings& settings() {
  static Settings all;
  return all;
}

void run(int64_t blocks, int threads, const std::function<void()>& thread) {
  if (blocks < 0 || blocks > INT32_MAX || threads < 1 || threads > 1024)
    throw Failure("no GPU takes " + std::to_string(blocks) + " blocks of " +
                  std::to_string(threads) + " threads");
  if (running != nullptr) throw Failure("a kernel launches another one");
  Block block(threads, thread);
  struct Running {
    explicit Running(Block* block) { running = block; }
    ~Running() { running = nullptr; }
  } const scope(&block);
  gridDim = {static_cast<unsigned>(blocks), 1, 1};
  blockDim = {static_cast<unsigned>(threads), 1, 1};
  for (int64_t i = 0; i < blocks; ++i) {
    blockIdx = {static_cast<unsigned>(i), 0, 0};
    block.run();
  }
}

void* shared_memory(const void* key, size_t bytes) { return running->shared(key, bytes); }

void sync_threads(Place place) { running->wait(Fiber::State::kAtBarrier, 0, 0, place); }

Exchanged exchange(uint32_t mask, uint64_t value, Place place) {
  if ((mask >> (threadIdx.x % kWarp) & 1) == 0)
    throw Failure("thread " + std::to_string(threadIdx.x) + " at " + place_of(place) +
                  " is not of the lanes that it names");
  running->wait(Fiber::State::kInWarp, mask, value, place);
  return {running->current().values, mask};
}

uint64_t Exchanged::from(unsigned lane) const {
  if (lane >= kWarp || (mask >> lane & 1) == 0)
    throw Failure("thread " + std::to_string(threadIdx.x) + " reads lane " +
                  std::to_string(lane) + ", which takes no part");
  return values[lane];
}

}  // namespace emulation

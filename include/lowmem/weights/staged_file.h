#pragma once

#include <c10/core/Device.h>

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "lowmem/weights/working_file.h"

namespace lowmem::weights {

class DeviceCopies;

// A working file for a GPU: what is read passes through some of the host's memory, locked
// at its place, and so does what is written. The host waits for the disk, and for the GPU
// where what it has written is read again at once, rows are gathered, or a write still
// has the memory that another request needs: so how much there is depends on no GPU's
// speed, and is what a plan says.
//
// Where the device is the CPU, as in tests and rehearsals, copies are done at once.
class StagedFile final : public Store {
 public:
  StagedFile(const std::filesystem::path& folder, c10::Device device);
  // Waits for all copies.
  ~StagedFile() override;

  int64_t extend(int64_t bytes) override { return file_.extend(bytes); }
  Ticket read(int64_t offset, std::span<std::byte> to) override;
  Ticket write(int64_t offset, std::span<const std::byte> from) override;
  void wait(Ticket ticket) override;
  void forget(Ticket ticket) override;

  // gather() waits for the ids.
  ops::MatrixRows rows(int64_t offset, const at::Tensor& like) override;
  void read_through(int64_t offset, int64_t bytes, const Room& room,
                    const std::function<void(std::span<const std::byte>)>& use) override;
  void write_through(
      int64_t offset, int64_t bytes, const Room& room,
      const std::function<void(int64_t, std::span<std::byte>)>& fill) override;

  Traffic traffic() const override { return file_.traffic(); }
  int64_t disk_bytes() const override { return file_.disk_bytes(); }
  std::string where() const override { return file_.where(); }

 private:
  static constexpr size_t kWrites = 2;

  struct Piece;
  struct Reading;
  struct Writing;
  class Rows;

  // Memory for so many bytes that nothing uses; may wait for a write that does.
  std::shared_ptr<Piece> piece_for(int64_t bytes);
  // Lets writes go on to the file: the first ones that the GPU has copied, and as many as
  // leave no more than `most`.
  void pass_on(size_t most);
  // Memory for what goes from host to host.
  const Room& passing();

  Room passing_;  // goes after the file does
  WorkingFile file_;
  std::unique_ptr<DeviceCopies> copies_;
  c10::Device device_;
  std::vector<std::shared_ptr<Piece>> pieces_;
  std::map<Ticket, Reading> reads_;
  std::deque<Writing> writes_;  // in order
  Ticket last_ = 0;
};

}  // namespace lowmem::weights

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lowmem/weights/store.h"

namespace lowmem::weights {

// The file that what lives on the disk lies in, for a CPU. Keeps a mark of every sector
// that was written, of some of its bytes: a file that lost sectors meanwhile, since
// someone cut it or the disk failed, is an Error where they are read, and not other
// numbers. In a rehearsal there is no file.
class WorkingFile final : public Store {
 public:
  explicit WorkingFile(const std::filesystem::path& folder);

  int64_t extend(int64_t bytes) override;
  Ticket read(int64_t offset, std::span<std::byte> to) override;
  Ticket write(int64_t offset, std::span<const std::byte> from) override;
  // Throws Error also where what was read is not what was written.
  void wait(Ticket ticket) override;
  void forget(Ticket ticket) override { reads_.erase(ticket); }

  ops::MatrixRows rows(int64_t offset, const at::Tensor& like) override;
  void read_through(int64_t offset, int64_t bytes, const Room& room,
                    const std::function<void(std::span<const std::byte>)>& use) override;
  void write_through(
      int64_t offset, int64_t bytes, const Room& room,
      const std::function<void(int64_t, std::span<std::byte>)>& fill) override;

  Traffic traffic() const override { return traffic_; }
  int64_t disk_bytes() const override { return bytes_; }
  std::string where() const override;

 private:
  struct Read {
    int64_t offset;
    std::span<const std::byte> to;
  };
  void compare(const Read& read) const;

  std::filesystem::path folder_;
  std::optional<DirectFile> file_;
  std::vector<uint8_t> marks_;  // of each sector; 0: it was never written
  std::map<Ticket, Read> reads_;
  int64_t bytes_ = 0;
  Traffic traffic_;
};

}  // namespace lowmem::weights

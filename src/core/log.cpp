#include "lowmem/core/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

#include "core/live_line_writer.h"
#include "lowmem/core/live_line.h"
#include "lowmem/core/plain_text.h"

namespace lowmem::log {
namespace {

// "warning: ..." and "error: ...", but nothing before an ordinary line.
class LevelPrefix : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    if (message.level < spdlog::level::warn) return;
    const auto name = spdlog::level::to_string_view(message.level);
    out.append(name.data(), name.data() + name.size());
    out.push_back(':');
    out.push_back(' ');
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<LevelPrefix>();
  }
};

// Standard error where it is a terminal with a live line.
class AboveLiveLine : public spdlog::sinks::base_sink<std::mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    live_line::write_above({line.data(), line.size()});
  }
  void flush_() override {}
};

std::shared_ptr<spdlog::sinks::sink> standard_error() {
  if (live_line::on()) return std::make_shared<AboveLiveLine>();
  return std::make_shared<spdlog::sinks::stderr_sink_mt>();
}

}  // namespace

void set_up(bool quiet) {
  live_line::set_up(quiet);
  auto logger = std::make_shared<spdlog::logger>("lowmem", standard_error());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<LevelPrefix>('*').set_pattern("%*%v");
  logger->set_formatter(std::move(formatter));
  logger->set_level(quiet ? spdlog::level::warn : spdlog::level::info);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void info(std::string_view line) { spdlog::info(plain_lines(line)); }

void warn(std::string_view line) { spdlog::warn(plain_lines(line)); }

void error(std::string_view line) { spdlog::error(plain_lines(line)); }

}  // namespace lowmem::log

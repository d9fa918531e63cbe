#include "lowmem/core/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

#include "core/live_line_writer.h"
#include "lowmem/core/live_line.h"

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

// Names out of files may hold anything. What a terminal would obey becomes ?, and so does
// a line's end that no indented line follows: it could begin a line of its own, such as
// an error that is none.
std::string cleaned(std::string_view line) {
  std::string result(line);
  for (size_t i = 0; i < line.size(); ++i) {
    const auto byte = static_cast<unsigned char>(line[i]);
    const bool continues = byte == '\n' && line.substr(i + 1).starts_with("  ");
    const bool control = (byte < 0x20 && !continues) || byte == 0x7f;
    // U+0080 to U+009F, which some terminals obey as well.
    const bool second = byte == 0xc2 && i + 1 < line.size() &&
                        static_cast<unsigned char>(line[i + 1]) >= 0x80 &&
                        static_cast<unsigned char>(line[i + 1]) < 0xa0;
    if (control) result[i] = '?';
    if (second) result[i] = result[i + 1] = '?';
  }
  return result;
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

void info(std::string_view line) { spdlog::info(cleaned(line)); }

void warn(std::string_view line) { spdlog::warn(cleaned(line)); }

void error(std::string_view line) { spdlog::error(cleaned(line)); }

}  // namespace lowmem::log

#include "progress.h"

#include "lowmem/core/error.h"

namespace lowmem::train {

nlohmann::json Progress::save() const {
  return {{"nonfinite_in_a_row", nonfinite_in_a_row},
          {"window", window.save()},
          {"events", events},
          {"results", results.save()}};
}

Progress Progress::load(const Checkpoint& checkpoint) {
  Progress progress;
  progress.step = checkpoint.state.step;
  const nlohmann::json& saved = checkpoint.state.progress;
  try {
    progress.nonfinite_in_a_row = saved.at("nonfinite_in_a_row");
    progress.window = Window::load(saved.at("window"));
    progress.results = Results::load(saved.at("results"));
    progress.events = saved.value("events", progress.events);
  } catch (const nlohmann::json::exception&) {
    throw Error(checkpoint.folder.string(), "is of another version of the program",
                "Go on with that version");
  }
  return progress;
}

}  // namespace lowmem::train

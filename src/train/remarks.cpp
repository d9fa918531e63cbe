#include "remarks.h"

#include <cmath>
#include <cstdio>

#include "lowmem/core/units.h"
#include "lowmem/train/best_model.h"

namespace lowmem::train {
namespace {

std::string number(double value, const char* format = "%.4g") {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// "accuracy 47.8%" or "loss 2.345".
std::string text_of(const Scores& scores) {
  if (scores.accuracy)
    return "accuracy " + number(100 * scores.accuracy->acc, "%.1f") + "%";
  return scores.likelihood ? "loss " + number(scores.likelihood->loss) : "";
}

// Of a share over so many rows.
double standard_error(const eval::Accuracy& accuracy) {
  return accuracy.count < 1 ? 0
                            : std::sqrt(accuracy.acc * (1 - accuracy.acc) /
                                        static_cast<double>(accuracy.count));
}

// By more than chance: an accuracy by more than its standard error.
bool is_worse(const Scores& before, const Scores& after) {
  if (before.accuracy && after.accuracy &&
      before.accuracy->acc - after.accuracy->acc > standard_error(*after.accuracy))
    return true;
  return !after.accuracy && better(before, after);
}

std::string worse_than_before(const Scores& before, const Scores& after) {
  std::string line = "the model evaluates worse than before training: " + text_of(after) +
                     " after " + text_of(before);
  if (after.accuracy)
    line += ", with a standard error of " +
            number(100 * standard_error(*after.accuracy), "%.1f") + "%";
  return line;
}

}  // namespace

std::optional<std::string> no_better_than_guessing(double loss, int64_t vocabulary) {
  const double guess = std::log(static_cast<double>(vocabulary));
  if (!(loss >= 0.98 * guess)) return std::nullopt;
  return "the loss is " + number(loss) + ", and guessing one of " +
         format_count(vocabulary, "token") + " gives " + number(guess) +
         ": nothing is learned. Try another optimizer.lr, and look at the rows with "
         "`lowmem-train data --show 3`";
}

std::vector<std::string> remarks(const Results& results, int64_t vocabulary,
                                 int64_t exported) {
  std::vector<std::string> lines;
  if (results.final_loss && results.first_loss) {
    const double last = *results.final_loss, first = *results.first_loss;
    if (auto line = no_better_than_guessing(last, vocabulary))
      lines.push_back(*line);
    else if (last > 1.1 * first)
      lines.push_back("the loss rose, from " + number(first) + " to " + number(last) +
                      ": try a smaller optimizer.lr, or a warm-up");
  }
  if (results.before && results.after && is_worse(*results.before, *results.after))
    lines.push_back(worse_than_before(*results.before, *results.after));
  if (results.best && results.best->step != exported && results.after &&
      is_worse(results.best->scores, *results.after))
    lines.push_back(
        "the model evaluated best after step " + std::to_string(results.best->step) +
        ", " + text_of(results.best->scores) + " against " + text_of(*results.after) +
        " at the end; train.keep_best = true exports the best");
  return lines;
}

}  // namespace lowmem::train

// Reports of run folders that the tests write themselves.
#include "lowmem/metrics/report.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/temp_folder.h"
#include "lowmem/core/error.h"
#include "lowmem/metrics/run_folders.h"

namespace lowmem::metrics {
namespace {

using nlohmann::json;
using test::TempFolder, test::write_text;
using testing::HasSubstr, testing::Not;
namespace fs = std::filesystem;

json results_of(double accuracy, const std::string& status = "finished") {
  const auto measured = [](double acc) {
    return json{{"acc", acc}, {"acc_norm", acc}, {"count", 400}};
  };
  json epoch = measured(accuracy);
  epoch.update({{"epoch", 1.0}, {"step", 100}});
  return {{"status", status},
          {"steps", 100},
          {"accuracy",
           {{"before", measured(0.25)},
            {"after", measured(accuracy)},
            {"epochs", json::array({epoch})}}},
          {"final_loss", 0.625},
          {"peak_bytes",
           {{"total", 3 << 20},
            {"load", 1 << 20},
            {"forward", 2 << 20},
            {"backward", 3 << 20},
            {"update", 2 << 20},
            {"evaluate", 2 << 20},
            {"save", 3 << 19}}},
          {"examples_per_second", 123.4},
          {"seconds", 75.0},
          {"versions", {{"lowmem_train", "1.2.3"}, {"libtorch", "2.11.0"}}}};
}

std::string metrics_of(int lines, double factor = 1) {
  std::string text;
  for (int i = 1; i <= lines; ++i)
    text += json{{"step", i},
                 {"epoch", i / 100.0},
                 {"loss", factor * (0.5 + 6.0 / i)},
                 {"rounding_lost", 0.25},
                 {"peak_bytes", 1000 + i}}
                .dump() +
            "\n";
  return text;
}

class ReportOf : public testing::Test {
 protected:
  fs::path make(const std::string& name) {
    fs::create_directories(folder_ / name);
    write_text(folder_ / (name + "/config.yaml"), "");
    return folder_ / name;
  }
  fs::path make(const std::string& name, const json& results,
                const std::string& metrics = metrics_of(100)) {
    const fs::path run = make(name);
    write_text(run / "results.json", results.dump());
    write_text(run / "metrics.jsonl", metrics);
    return run;
  }
  Report report() const {
    Report report;
    for (const FoundRun& run : find_runs({folder_.path()}))
      report.runs.push_back({run.name, read_run(run.folder), "fp32 Adam", "", {}});
    return report;
  }
  std::string markdown() const { return report_markdown(report()); }
  std::string html() const { return report_html(report()); }

  TempFolder folder_;
};

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++found;
  return found;
}

// The first tag that closes another than the one that is open; empty where all match.
std::string first_mismatch(const std::string& page) {
  std::vector<std::string> open;
  for (size_t at = page.find("<html"); (at = page.find('<', at)) != std::string::npos;) {
    const size_t end = page.find('>', at);
    if (end == std::string::npos) return page.substr(at);
    const std::string tag = page.substr(at + 1, end - at - 1);
    if (tag.find('<') != std::string::npos || count(tag, "\"") % 2 != 0) return tag;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return tag;
      open.pop_back();
    } else if (!tag.ends_with("/")) {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
    at = end;
  }
  return open.empty() ? "" : open.back();
}

TEST_F(ReportOf, AFinishedRunIsARow) {
  make("one", results_of(0.875));
  EXPECT_THAT(markdown(),
              HasSubstr("| one | fp32 Adam | 25.0% | 87.5% | 0.625 | 3.0 MiB | "
                        "123.4 | 1m 15s |"));
}

TEST_F(ReportOf, AStoppedAndAnUnfinishedRunAreShownAsSuch) {
  make("stopped", results_of(0.5, "stopped"));
  write_text(make("unfinished") / "metrics.jsonl", metrics_of(7) + "{\"step\": 8, \"lo");
  EXPECT_THAT(markdown(), HasSubstr("| stopped (stopped after step 100) |"));
  EXPECT_THAT(markdown(),
              HasSubstr("| unfinished (unfinished after step 7) | fp32 Adam | "
                        "- | - | 1.357 | 1007 B | - | - |"));
  EXPECT_THAT(html(), HasSubstr("unfinished after step 7"));
}

TEST_F(ReportOf, PerplexityHasItsColumnsAndItsCurve) {
  json results = results_of(0.5);
  results["accuracy"] = {
      {"before", nullptr}, {"after", nullptr}, {"epochs", json::array()}};
  results["perplexity"] = {
      {"before", {{"loss", 3.0}, {"perplexity", 20.09}, {"tokens", 50}}},
      {"after", {{"loss", 2.0}, {"perplexity", 7.389}, {"tokens", 50}}},
      {"epochs", json::array()}};
  make("one", results);
  EXPECT_THAT(markdown(), HasSubstr("perplexity before"));
  EXPECT_THAT(markdown(), HasSubstr("| 20.09 | 7.39 |"));
  EXPECT_THAT(markdown(), Not(HasSubstr("accuracy")));
  EXPECT_THAT(html(), HasSubstr("<h3>Perplexity</h3>"));
  EXPECT_THAT(html(), Not(HasSubstr("<h3>Accuracy</h3>")));
}

TEST_F(ReportOf, PageIsWellFormedAndNeedsNoNetwork) {
  make("a", results_of(0.5));
  make("b", results_of(0.75), metrics_of(100, 2));
  make("c");
  const std::string page = html();
  EXPECT_EQ(first_mismatch(page), "");
  for (const char* outside : {"http:", "https:", "url(", "@import", "<script", "src="})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  for (const char* part : {"Training loss", "Accuracy", "Memory by phase", "half a unit"})
    EXPECT_THAT(page, HasSubstr(part));
}

TEST_F(ReportOf, NamesCannotBecomeMarkup) {
  make("<b onclick='x'>\"&|", results_of(0.5));
  const std::string page = html();
  EXPECT_EQ(first_mismatch(page), "");
  EXPECT_THAT(page, Not(HasSubstr("<b ")));
  EXPECT_THAT(page, HasSubstr("&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;|"));
  EXPECT_THAT(markdown(), HasSubstr("| \\<b onclick='x'>\"\\&\\| |"));
}

TEST_F(ReportOf, LongRunsGiveSmallPages) {
  make("long", results_of(0.5), metrics_of(20000));
  const std::string page = html();
  EXPECT_LT(page.size(), 60000u);
  EXPECT_EQ(first_mismatch(page), "");
}

TEST_F(ReportOf, MemoryBarsSplitIntoWeightsOptimizerAndPhase) {
  make("one", results_of(0.5));
  const std::string page = html();
  // backward: 1 MiB loaded, 0.5 more while saving, 1.5 of its own.
  EXPECT_EQ(count(page, "<title>weights: 1.0 MiB</title>"), 6);
  EXPECT_EQ(count(page, "<title>optimizer: 512.0 KiB</title>"), 5);
  EXPECT_EQ(count(page, "<title>this phase: 1.5 MiB</title>"), 1);
  EXPECT_EQ(count(page, "<title>this phase: 512.0 KiB</title>"), 3);
}

TEST_F(ReportOf, EqualCurvesAreNamed) {
  make("a", results_of(0.5));
  make("b", results_of(0.75));
  make("c", results_of(0.8), metrics_of(100, 2));
  EXPECT_THAT(html(), HasSubstr("Equal in every number: a, b."));
}

TEST_F(ReportOf, SeedsOfOneMethodAreAveraged) {
  for (const char* seed : {"1", "2"}) {
    make(std::string("low-seed") + seed, results_of(seed[0] == '1' ? 0.5 : 1.0));
    make(std::string("base-seed") + seed, results_of(0.25));
  }
  Report two = report();
  two.keys = {"optimizer.lr"};
  for (ReportedRun& run : two.runs) {
    run.seed = run.name.substr(run.name.size() - 1);
    run.settings = {run.name.starts_with("low") ? "0.1" : "0.2"};
  }
  const std::string table = report_markdown(two);
  EXPECT_THAT(table, HasSubstr("| low | 2 | 25.0% | 75.0% (50.0% to 100.0%) |"));
  EXPECT_THAT(table, HasSubstr("| base | 2 | 25.0% | 25.0% |"));
  EXPECT_THAT(table, HasSubstr("| method | optimizer.lr |\n|---|---|\n| base | 0.2 |\n"
                               "| low | 0.1 |"));
  EXPECT_EQ(first_mismatch(report_html(two)), "");
}

TEST_F(ReportOf, RunsOfOneSeedStayApart) {
  make("a", results_of(0.5));
  make("b", results_of(0.6));
  Report two = report();
  for (ReportedRun& run : two.runs) run.seed = "42";
  EXPECT_THAT(report_markdown(two), Not(HasSubstr("Means over seeds")));
}

TEST_F(ReportOf, DamagedResultsAreNamed) {
  for (const char* text : {"", "[]", "{\"status\": \"finished\"}", "{\"status\": 3}",
                           "{\"status\": \"finished\", \"steps\": 1e300}"}) {
    write_text(make("one") / "results.json", text);
    try {
      report();
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.thing(), HasSubstr("results.json")) << text;
    }
  }
}

TEST_F(ReportOf, AFieldOfTheWrongTypeIsNamed) {
  for (const char* field : {"accuracy", "peak_bytes", "final_loss", "seconds"}) {
    json results = results_of(0.5);
    results[field] = "much";
    make("one", results);
    EXPECT_THROW(report(), Error) << field;
  }
}

TEST_F(ReportOf, DamagedLinesAreLeftOut) {
  make("one", results_of(0.5),
       metrics_of(3) + "nonsense\n{\"step\": \"x\"}\n[1]\n" + std::string(9, '[') + "\n");
  const Report read = report();
  EXPECT_EQ(read.runs[0].summary.logged.size(), 3u);
  EXPECT_EQ(first_mismatch(report_html(read)), "");
}

TEST_F(ReportOf, RunsAreFoundOnceInTheOrderOfTheirNumbers) {
  for (const char* name : {"seed10", "seed9", "seed1"}) make(name);
  write_text(folder_ / "report.html", "");
  const auto runs =
      find_runs({folder_ / "report.html", folder_ / "seed10", folder_.path()});
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[0].name, "seed10");
  EXPECT_EQ(runs[1].name, "seed1");
  EXPECT_EQ(runs[2].name, "seed9");
  EXPECT_EQ(common_folder(runs), folder_.path());
}

TEST_F(ReportOf, RunsOfSeveralFoldersAreNamedByThem) {
  make("x/run");
  make("y/run");
  const auto runs = find_runs({folder_ / "x/", folder_ / "y"});
  EXPECT_EQ(runs[0].name, "x/run");
  EXPECT_EQ(runs[1].name, "y/run");
  EXPECT_EQ(common_folder(runs), folder_.path());
}

TEST_F(ReportOf, FoldersWithoutRunsAreNamed) {
  fs::create_directories(folder_ / "empty");
  EXPECT_THROW(find_runs({folder_ / "empty"}), Error);
  EXPECT_THROW(find_runs({folder_ / "nowhere"}), Error);
  EXPECT_THROW(find_runs({}), Error);
}

}  // namespace
}  // namespace lowmem::metrics

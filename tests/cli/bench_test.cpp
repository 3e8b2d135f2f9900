// vigil bench: the report's three forms, what it says of each test, and what it does when something fails.
#include <algorithm>
#include <csignal>
#include <doctest/doctest.h>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"

using namespace vigil::test;

namespace {

// Short tests, and no reading of memory, whose speed on the way of a test says nothing, if `more` does not say
// otherwise.
std::vector<std::string> bench_line(const std::vector<std::string>& more) {
    std::vector<std::string> line = {"bench", tiny_model(), "--warmup", "3", "--commit", "abc"};
    for (const char* flag : {"-r", "--read-gib"})
        if (std::find(more.begin(), more.end(), flag) == more.end())
            line.insert(line.end(), {flag, std::string(flag) == "-r" ? "2" : "0"});
    line.insert(line.end(), more.begin(), more.end());
    return line;
}

Json report(std::vector<std::string> more) {
    more.insert(more.end(), {"-o", "json"});
    return Json::parse(run_on_device(bench_line(more)).out);
}

std::vector<std::string> split(const std::string& line) {
    std::vector<std::string> cells(1);
    bool quoted = false;
    for (const char c : line) {
        if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted)
            cells.emplace_back();
        else
            cells.back() += c;
    }
    return cells;
}

void check_order(const Json& percentiles) {
    CHECK(percentiles.at("p50").get<double>() > 0);
    double last = 0;
    for (const char* p : {"p50", "p90", "p99", "p99.9", "max"}) {
        CHECK(percentiles.at(p).get<double>() >= last);
        last = percentiles.at(p);
    }
}

}  // namespace

TEST_CASE("each test is measured in every dispatch at every depth, and all give the same tokens") {
    const Json json = report({"-p", "1,40", "-n", "6,9", "-d", "0", "-d", "70"});
    CHECK(json.at("commit") == "abc");
    CHECK(json.at("sampling") == "greedy");
    CHECK(json.at("command").get<std::string>().starts_with("vigil bench "));
    REQUIRE(json.at("models").size() == 1);
    const Json& model = json.at("models")[0];
    CHECK(model.at("model").get<std::string>().ends_with("tiny"));
    CHECK(model.at("weight_bytes").get<std::size_t>() > 1'000'000);
    CHECK_FALSE(model.contains("error"));

    REQUIRE(model.at("decode").size() == 12);
    std::set<std::pair<std::string, std::string>> rows;
    for (const Json& row : model.at("decode")) {
        rows.emplace(row.at("test"), row.at("dispatch"));
        check_order(row.at("ms"));
        CHECK(row.at("repetitions") == 2);
        CHECK(row.at("same_tokens") == true);
        CHECK(row.at("tokens_per_s").at("mean").get<double>() > 0);
    }
    CHECK(rows.size() == 12);
    CHECK(rows.contains({"tg9 @ d70", "graph"}));
    CHECK(rows.contains({"tg6", "persistent"}));

    REQUIRE(model.at("prompt").size() == 12);
    for (const Json& row : model.at("prompt")) {
        check_order(row.at("first_token_ms"));
        // A short prompt is fed by the kernel.
        const double prefill = row.at("prefill_ms").at("p50");
        CHECK((row.at("prompt") == 1 ? prefill == 0 : prefill > 0));
        CHECK(prefill <= row.at("first_token_ms").at("p50").get<double>());
    }
}

TEST_CASE("a token reads the weights, and keys and values of its depth") {
    const Json json = report({"-p", "0", "-n", "4", "-d", "0,100", "--dispatch", "launch"});
    const Json& rows = json.at("models")[0].at("decode");
    REQUIRE(rows.size() == 2);
    const auto weights = json.at("models")[0].at("weight_bytes").get<std::size_t>();
    const auto shallow = rows[0].at("bytes_per_token").get<std::size_t>();
    const auto deep = rows[1].at("bytes_per_token").get<std::size_t>();
    // The tiny model's embedding is its output matrix. 2 layers, 2 heads of 64 values, FP16 keys and values.
    CHECK(shallow == weights + 3 * (2 * 2 * 64 * 2 * 2));
    CHECK(deep - shallow == 100 * (2 * 2 * 64 * 2 * 2));
}

TEST_CASE("without a read ceiling there is no share of it, and the report says why") {
    const Json json = report({"-p", "0", "-n", "4", "--dispatch", "launch"});
    CHECK(json.at("read_ceiling_gb_per_s").is_null());
    CHECK(json.at("no_read_ceiling").get<std::string>().find("--read-gib") != std::string::npos);
    CHECK(json.at("models")[0].at("decode")[0].at("share_of_ceiling").is_null());
}

TEST_CASE("with one, the share is the bytes of a token in its median time, of the ceiling of this run") {
    const Json json = report({"-p", "0", "-n", "4", "--dispatch", "launch", "--read-gib", "0.01"});
    const double ceiling = json.at("read_ceiling_gb_per_s");
    CHECK(ceiling > 0);
    const Json& row = json.at("models")[0].at("decode")[0];
    const double rate = row.at("bytes_per_token").get<double>() / row.at("ms").at("p50").get<double>() / 1e6;
    CHECK(row.at("gb_per_s").get<double>() == doctest::Approx(rate));
    CHECK(row.at("share_of_ceiling").get<double>() == doctest::Approx(rate / ceiling));
}

TEST_CASE("sampling is on the command line, and the same seed gives the same tokens in every dispatch") {
    const Json json = report({"-p", "0", "-n", "12", "--temp", "1", "--top-p", "0.9", "--seed", "5"});
    CHECK(json.at("sampling").get<std::string>().starts_with("temperature 1 "));
    for (const Json& row : json.at("models")[0].at("decode")) CHECK(row.at("same_tokens") == true);
}

TEST_CASE("jobs are timed from submission on") {
    const Json json = report({"-p", "0", "-n", "0", "--jobs", "5", "--dispatch", "persistent,launch"});
    const Json& rows = json.at("models")[0].at("submit");
    REQUIRE(rows.size() == 2);
    for (const Json& row : rows) {
        CHECK(row.at("jobs") == 5);
        check_order(row.at("first_token_us"));
        check_order(row.at("round_trip_us"));
        for (const char* job : {"first_token_parts", "round_trip_parts"})
            for (const char* part : {"write_us", "ring_us", "device_us"}) check_order(row.at(job).at(part));
    }
}

TEST_CASE("CSV has a cell for each name of its header") {
    const Result result = run_on_device(bench_line({"-p", "20", "-n", "4", "-o", "csv"}));
    const auto lines = lines_of(result.out);
    REQUIRE(lines.size() == 7);
    const auto names = split(lines[0]);
    for (const std::string& line : lines) CHECK(split(line).size() == names.size());
    std::map<std::string, std::string> row;
    for (std::size_t i = 0; i < names.size(); ++i) row[names[i]] = split(lines[5])[i];
    CHECK(row["test"] == "tg4");
    CHECK(row["dispatch"] == "graph");
    CHECK(row["n_gen"] == "4");
    CHECK(row["n_prompt"] == "0");
    CHECK(row["commit"] == "abc");
    CHECK(row["same_tokens"] == "true");
    CHECK(std::stod(row["ms_p50"]) > 0);
}

TEST_CASE("Markdown is the default, with progress on standard error and JSON in a file if asked for") {
    const auto file = new_path("report.json");
    const Result result = run_on_device(bench_line({"-p", "20", "-n", "4", "--json-file", file}));
    for (const char* part : {"| tg4 | persistent |", "| pp20 | graph |", "commit abc", "read ceiling not measured"}) {
        CAPTURE(part);
        CHECK(result.out.find(part) != std::string::npos);
    }
    // As many cells in each row of a table as in its head.
    std::size_t n_cells = 0;
    for (const std::string& line : lines_of(result.out)) {
        const auto n = static_cast<std::size_t>(std::count(line.begin(), line.end(), '|'));
        if (n_cells != 0 && n != 0) CHECK(n == n_cells);
        n_cells = n;
    }
    CHECK(result.err.find("tg4, launch: ") != std::string::npos);
    CHECK(Json::parse(read_file(file)).at("models").size() == 1);
}

TEST_CASE("a model that fails is told, and the figures of the others are kept") {
    auto line = bench_line({"-p", "0", "-n", "4", "--dispatch", "launch", "-o", "json"});
    line.insert(line.begin() + 1, "/nowhere/none.gguf");
    const Result result = run_on_device(line, "/dev/null", 1);
    const Json json = Json::parse(result.out);
    REQUIRE(json.at("models").size() == 2);
    CHECK(json.at("models")[0].at("error").get<std::string>().find("/nowhere/none.gguf") != std::string::npos);
    CHECK(json.at("models")[1].at("decode").size() == 1);
    CHECK(result.err.find("/nowhere/none.gguf") != std::string::npos);
}

TEST_CASE("Ctrl-C ends the test under way, and what was measured before is reported") {
    skip_without_device();
    // The second test would take hours.
    Child child(on_device(
        bench_line({"-p", "0", "-n", "4", "-n", "3000", "-r", "10000", "--dispatch", "launch", "-o", "json"})));
    Child quick(on_device(bench_line({"-p", "0", "-n", "4", "--dispatch", "launch"})));
    CHECK(quick.wait().exit_code == 0);
    child.send(SIGINT);
    const Result result = child.wait();
    CHECK(result.exit_code == 130);
    const Json json = Json::parse(result.out);
    for (const Json& model : json.at("models")) CHECK(model.at("decode").size() <= 1);
}

TEST_CASE("a trace has a process for each test and dispatch") {
    const auto file = new_path("trace.json");
    run_on_device(bench_line(
        {"-p", "0", "-n", "8", "--dispatch", "persistent,launch", "--trace", file, "--trace-tokens", "2:3"}));
    std::vector<std::string> names;
    const Json json = Json::parse(read_file(file));
    for (const Json& event : json.at("traceEvents"))
        if (event.at("name") == "process_name") names.push_back(event.at("args").at("name"));
    REQUIRE(names.size() == 2);
    CHECK(names[0].ends_with("tg8, persistent"));
    CHECK(names[1].ends_with("tg8, launch"));
}

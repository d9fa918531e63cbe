// One file for each way in which a safetensors file can be wrong, and the reason that the
// user is given. Each differs from a good file in that one thing.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <chrono>

#include "io/error_of.h"
#include "io/raw_safetensors.h"
#include "io/temp_folder.h"
#include "lowmem/io/safetensors.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::raw_safetensors;
using test::TempFolder;
using test::write_text;
using ::testing::HasSubstr;

struct Corruption {
  const char* name;
  std::string bytes;
  const char* thing;  // "" for the file alone, " header", " tensor \"a\""
  const char* problem;
};
void PrintTo(const Corruption& corruption, std::ostream* out) { *out << corruption.name; }

// Eight bytes of data, described by `header`.
std::string file(const std::string& header) {
  return raw_safetensors(header, "12345678");
}

// A file of one tensor, "a", of eight bytes.
std::string tensor(const std::string& fields) { return file("{\"a\":{" + fields + "}}"); }

// ... of which all but one field are right.
std::string shape(const std::string& value) {
  return tensor(R"("dtype":"F32","data_offsets":[0,8],"shape":)" + value);
}
std::string offsets(const std::string& value) {
  return tensor(R"("dtype":"F32","shape":[2],"data_offsets":)" + value);
}
std::string dtype(const std::string& value) {
  return tensor(R"("shape":[2],"data_offsets":[0,8],"dtype":)" + value);
}

// Two tensors, "a" and "b", of bytes.
std::string spans(const std::string& a, const std::string& b) {
  const auto entry = [](const std::string& name, const std::string& span) {
    const size_t comma = span.find(',');
    const int size = std::stoi(span.substr(comma + 1)) - std::stoi(span.substr(1));
    return "\"" + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(size) +
           R"(],"data_offsets":)" + span + "}";
  };
  return file("{" + entry("a", a) + "," + entry("b", b) + "}");
}

const std::string kGood = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
const std::string kGoodFile = file("{" + kGood + "}");
constexpr const char* kHeader = " header";
constexpr const char* kA = " tensor \"a\"";
constexpr const char* kB = " tensor \"b\"";

const Corruption kCorruptions[] = {
    // The file and the header's length.
    {"Empty", "", "", "0 B long, too short"},
    {"ShorterThanItsLength", std::string(7, '\0'), "", "too short"},
    {"LengthBeyondTheFile", raw_safetensors("{}", "", 3), kHeader, "length of 3 bytes"},
    {"LengthThatOverflows", raw_safetensors("{}", "", ~0ull), kHeader,
     "length of 18446744073709551615 bytes"},
    {"LengthThatOverflowsWhenEightIsAdded", raw_safetensors("{}", "", ~0ull - 7), kHeader,
     "length of 18446744073709551608 bytes"},
    {"LengthThatIsNegativeWhenSigned", raw_safetensors("{}", "", 1ull << 63), kHeader,
     "length of 9223372036854775808 bytes"},
    {"GitLfsPointer", "version https://git-lfs.github.com/spec/v1\n", "", "Git LFS"},
    {"CutShortInTheData", kGoodFile.substr(0, kGoodFile.size() - 1), "",
     "cut short: its tensors take 8 bytes, of which 7"},
    {"TrailingBytes", kGoodFile + "9", "", "1 bytes after the last"},
    {"DataWithoutTensors", file("{}"), "", "8 bytes after the last"},
    // The header as JSON.
    {"EmptyHeader", raw_safetensors("", ""), kHeader, "does not begin with '{'"},
    {"HeaderOfAnotherKind", file("[]"), kHeader, "does not begin with '{'"},
    {"SpaceBeforeTheHeader", file(" {" + kGood + "}"), kHeader, "does not begin with"},
    {"InvalidUtf8", file("{\"a\xff\":{}}"), kHeader, "not valid UTF-8 at byte 3"},
    {"OverlongUtf8", file("{\"\xc0\x80\":{}}"), kHeader, "not valid UTF-8 at byte 2"},
    {"SurrogateInUtf8", file("{\"\xed\xa0\x80\":{}}"), kHeader, "not valid UTF-8"},
    {"Utf8BeyondUnicode", file("{\"\xf4\x90\x80\x80\":{}}"), kHeader, "not valid UTF-8"},
    {"Utf8CutShort", file("{\"\xe2\x82"), kHeader, "not valid UTF-8 at byte 2"},
    {"LoneSurrogateEscape", file(R"({"\ud800":{}})"), kHeader, "not valid JSON"},
    {"ZeroByteAfterTheHeader", file("{" + kGood + "}" + std::string(1, '\0')), kHeader,
     "zero byte"},
    {"HeaderCutShort", file("{" + kGood), kHeader, "not valid JSON at byte"},
    {"TextAfterTheHeader", file("{" + kGood + "}{}"), kHeader, "not valid JSON at byte"},
    {"Comment", file("{/**/" + kGood + "}"), kHeader, "not valid JSON at byte"},
    {"SingleQuotes", file("{'a':{}}"), kHeader, "not valid JSON at byte 2"},
    {"NumberBeyondDouble", shape("[1e999]"), kHeader, "not valid JSON"},
    // Names and fields.
    {"DuplicateTensor", file("{" + kGood + "," + kGood + "}"), kA, "in the header twice"},
    {"DuplicateTensorEmpty",
     file("{" + kGood + R"(,"b":{"dtype":"F32","shape":[0],"data_offsets":[8,8]})" +
          R"(,"b":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}})"),
     kB, "in the header twice"},
    {"DuplicateField", tensor(R"("dtype":"F32","dtype":"F32")"), kA, "\"dtype\" twice"},
    {"DuplicateMetadata", file(R"({"__metadata__":{},"__metadata__":{}})"), kHeader,
     "\"__metadata__\" twice"},
    {"DuplicateMetadataKey", file(R"({"__metadata__":{"x":"1","x":"2"}})"), kHeader,
     "\"x\" twice"},
    {"MetadataOfNumbers", file(R"({"__metadata__":{"x":1}})"), kHeader,
     "a number as \"x\" in \"__metadata__\""},
    {"NestedMetadata", file(R"({"__metadata__":{"x":{}}})"), kHeader,
     "an object as \"x\" in \"__metadata__\""},
    {"MetadataThatIsAString", file(R"({"__metadata__":"x"})"), kHeader,
     "a string as \"__metadata__\""},
    {"TensorThatIsNull", file(R"({"a":null})"), kHeader, "null as \"a\""},
    {"TensorThatIsAList", file(R"({"a":[]})"), kHeader, "a list as \"a\""},
    {"NoDType", tensor(R"("shape":[2],"data_offsets":[0,8])"), kA, "no \"dtype\""},
    {"NoShape", tensor(R"("dtype":"F32","data_offsets":[0,8])"), kA, "no \"shape\""},
    {"NoOffsets", tensor(R"("dtype":"F32","shape":[2])"), kA, "no \"data_offsets\""},
    {"UnknownField", tensor(R"("stride":[1])"), kA, "unknown field \"stride\""},
    {"UnknownDType", dtype("\"F8_E4M3\""), kA, "elements of type \"F8_E4M3\""},
    {"DTypeInLowerCase", dtype("\"f32\""), kA, "elements of type \"f32\""},
    {"DTypeThatIsANumber", dtype("32"), kA, "a number as \"dtype\""},
    {"DTypeThatIsAList", dtype("[\"F32\"]"), kA, "a list as \"dtype\""},
    // Shapes.
    {"ShapeThatIsANumber", shape("2"), kA, "a number as \"shape\""},
    {"ShapeThatIsAString", shape("\"2\""), kA, "a string as \"shape\""},
    {"NegativeSize", shape("[-2]"), kA, "a negative number in \"shape\""},
    {"FractionalSize", shape("[2.5]"), kA, "not whole or is too large in \"shape\""},
    {"SizeAsAFloat", shape("[2.0]"), kA, "not whole or is too large in \"shape\""},
    {"SizeOf2To63", shape("[9223372036854775808]"), kA, "2^63 or more in \"shape\""},
    {"SizeOf2To64", shape("[18446744073709551616]"), kA, "too large in \"shape\""},
    {"SizeThatIsTrue", shape("[true]"), kA, "true or false in \"shape\""},
    {"NestedShape", shape("[[2]]"), kA, "a list in \"shape\""},
    {"ShapeThatOverflows", shape("[4294967296,4294967296]"), kA, "more than 2^63 bytes"},
    {"ShapeThatOverflowsInBytes", shape("[4611686018427387904]"), kA,
     "more than 2^63 bytes"},
    {"ShapeThatOverflowsBeforeAZero", shape("[4294967296,4294967296,0]"), kA,
     "more than 2^63 bytes"},
    {"ShapeLargerThanItsSpan", shape("[3]"), kA, "shape of 12 bytes, but a span of 8"},
    {"ShapeSmallerThanItsSpan", shape("[]"), kA, "shape of 4 bytes, but a span of 8"},
    // Spans.
    {"OffsetsThatAreANumber", offsets("8"), kA, "a number as \"data_offsets\""},
    {"OneOffset", offsets("[8]"), kA, "fewer than two"},
    {"ThreeOffsets", offsets("[0,8,8]"), kA, "more than two"},
    {"NegativeOffset", offsets("[-8,0]"), kA, "a negative number in \"data_offsets\""},
    {"OffsetOf2To63", offsets("[0,9223372036854775808]"), kA, "2^63 or more"},
    {"ReversedOffsets", offsets("[8,0]"), kA, "ends before it begins"},
    {"HoleAtTheStart", spans("[1,4]", "[4,8]"), kA, "leaves a hole after byte 0"},
    {"HoleInTheMiddle", spans("[0,3]", "[4,8]"), kB,
     "begins at byte 4 of the data, which leaves a hole after byte 3"},
    {"Overlap", spans("[0,5]", "[4,8]"), kB,
     "overlaps the tensor before it, up to byte 5"},
    {"SameSpanTwice", spans("[0,8]", "[0,8]"), kB, "overlaps the tensor before it"},
    {"SpanWithinAnother", spans("[0,8]", "[2,4]"), kB, "overlaps the tensor before it"},
    {"EmptyTensorWithinAnother", spans("[0,8]", "[4,4]"), kB, "overlaps the tensor"},
    {"SpanBeyondTheFile", spans("[0,4]", "[4,9]"), "", "cut short"},
    {"EmptyTensorBeyondTheFile", spans("[0,8]", "[99,99]"), kB, "leaves a hole"},
};

class SafetensorsCorruption : public ::testing::TestWithParam<Corruption> {};

TEST_P(SafetensorsCorruption, IsNamed) {
  const TempFolder folder;
  const fs::path path = folder / "x.safetensors";
  write_text(path, GetParam().bytes);
  const Error error = error_of([&] { SafetensorsFile{path}; });
  EXPECT_EQ(error.thing(), path.string() + GetParam().thing);
  EXPECT_THAT(error.problem(), HasSubstr(GetParam().problem));
  EXPECT_FALSE(error.remedy().empty());
}

INSTANTIATE_TEST_SUITE_P(All, SafetensorsCorruption, ::testing::ValuesIn(kCorruptions),
                         [](const auto& tested) { return tested.param.name; });

TEST(SafetensorsLimits, TheGoodFileThatTheOthersDifferFromIsTaken) {
  const TempFolder folder;
  write_text(folder / "x", kGoodFile);
  EXPECT_EQ(SafetensorsFile(folder / "x").tensors().size(), 1u);
  write_text(folder / "x", spans("[0,4]", "[4,8]"));
  EXPECT_EQ(SafetensorsFile(folder / "x").tensors().size(), 2u);
}

// A sparse file, so that the length is inside it.
TEST(SafetensorsLimits, AHeaderMayTakeAHundredMillionBytes) {
  const TempFolder folder;
  write_text(folder / "x", raw_safetensors("{}", "", 100'000'001));
  fs::resize_file(folder / "x", 100'000'100);
  EXPECT_THAT(error_of([&] { SafetensorsFile{folder / "x"}; }).problem(),
              HasSubstr("limit of 100,000,000"));
  write_text(folder / "x", raw_safetensors("{}", "", 100'000'000));
  fs::resize_file(folder / "x", 100'000'008);
  EXPECT_THAT(error_of([&] { SafetensorsFile{folder / "x"}; }).problem(),
              HasSubstr("zero byte"));
}

TEST(SafetensorsLimits, DeepNestingIsRefusedAtItsFirstLevel) {
  const TempFolder folder;
  for (const auto& [start, bracket, problem] :
       {std::tuple{"{\"a\":", "[", "a list as \"a\""},
        std::tuple{"{\"a\":{\"shape\":[", "[", "a list in \"shape\""},
        std::tuple{"{\"a\":{\"shape\":", "{\"shape\":", "an object as \"shape\""},
        std::tuple{"{", "{", "not valid JSON at byte 2"}}) {
    std::string header = start;
    while (header.size() < 20'000'000) header += bracket;
    write_text(folder / "x", raw_safetensors(header, ""));
    EXPECT_THAT(error_of([&] { SafetensorsFile{folder / "x"}; }).problem(),
                HasSubstr(problem));
  }
}

TEST(SafetensorsLimits, SixtyFourDimensionsAreTheMost) {
  const TempFolder folder;
  const auto write_dimensions = [&](int count) {
    std::string sizes = "2";
    for (int i = 1; i < count; ++i) sizes += ",1";
    write_text(folder / "x", shape("[" + sizes + "]"));
  };
  write_dimensions(64);
  EXPECT_EQ(SafetensorsFile(folder / "x").tensors()[0].shape.size(), 64u);
  write_dimensions(65);
  EXPECT_THAT(error_of([&] { SafetensorsFile{folder / "x"}; }).problem(),
              HasSubstr("more than 64 dimensions"));
}

TEST(SafetensorsLimits, MessagesStayShortAndOnOneLine) {
  const TempFolder folder;
  const std::string name(1'000'000, 'n');
  write_text(folder / "x", file("{\"\\n\\u001b" + name + "\":{\"dtype\":1}}"));
  const Error error = error_of([&] { SafetensorsFile{folder / "x"}; });
  EXPECT_LT(error.thing().size(), 500u);
  EXPECT_THAT(error.thing(), HasSubstr("tensor \"??nnn"));
}

TEST(SafetensorsLimits, WhatIsNotAFileIsRefusedWithoutWaiting) {
  const TempFolder folder;
  EXPECT_THAT(error_of([&] { SafetensorsFile{folder.path()}; }).problem(),
              HasSubstr("is not a file"));
  EXPECT_THAT(error_of([&] { SafetensorsFile{folder / "none"}; }).problem(),
              HasSubstr("No such file"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { SafetensorsFile{folder / "pipe"}; }).problem(),
              HasSubstr("is not a file"));
}

// A truncated copy of a good file is refused at every length.
TEST(SafetensorsLimits, EveryTruncationIsRefused) {
  const TempFolder folder;
  for (size_t length = 0; length < kGoodFile.size(); ++length) {
    write_text(folder / "x", kGoodFile.substr(0, length));
    EXPECT_THROW(SafetensorsFile{folder / "x"}, Error) << length;
  }
}

}  // namespace
}  // namespace lowmem

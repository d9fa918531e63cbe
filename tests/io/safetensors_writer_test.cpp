#include "lowmem/io/safetensors_writer.h"

#include <gmock/gmock.h>

#include <stdexcept>

#include "io/error_of.h"
#include "io/temp_folder.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;
using test::count_files;
using test::read_text;
using test::TempFolder;
using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

const std::vector<TensorSpec> kSpecs = {{"z", DType::kF32, {2, 2}},
                                        {"empty", DType::kF32, {0, 3}},
                                        {"a \"\\\n é", DType::kBF16, {}},
                                        {"m", DType::kU8, {3}}};

TEST(SafetensorsWriter, WhatItWritesIsReadBack) {
  const TempFolder folder;
  SafetensorsWriter writer(folder / "x", kSpecs, {{"format", "pt"}, {"by", "test"}});
  writer.write("z", bytes_of("0123456789"));
  writer.write("z", bytes_of("abcdef"));
  writer.write("empty", {});
  writer.write(kSpecs[2].name, bytes_of("gh"));
  EXPECT_FALSE(writer.is_complete());
  writer.write("m", bytes_of("ijk"));
  EXPECT_TRUE(writer.is_complete());
  EXPECT_FALSE(fs::exists(folder / "x"));
  writer.finish();

  const SafetensorsFile file(folder / "x");
  ASSERT_EQ(file.tensors().size(), kSpecs.size());
  std::string data;
  for (size_t i = 0; i < kSpecs.size(); ++i) {
    const TensorInfo& tensor = file.tensors()[i];
    EXPECT_EQ(tensor.name, kSpecs[i].name);
    EXPECT_EQ(tensor.dtype, kSpecs[i].dtype);
    EXPECT_EQ(tensor.shape, kSpecs[i].shape);
    std::string part(static_cast<size_t>(tensor.bytes()), '\0');
    file.read(tensor, 0, std::as_writable_bytes(std::span(part.data(), part.size())));
    data += part;
  }
  EXPECT_EQ(data, "0123456789abcdefghijk");
  EXPECT_EQ(file.metadata(),
            (std::map<std::string, std::string>{{"by", "test"}, {"format", "pt"}}));
}

TEST(SafetensorsWriter, BytesAreAsTheFormatSays) {
  const TempFolder folder;
  SafetensorsWriter writer(folder / "x", {{"w", DType::kU8, {2, 1}}});
  writer.write("w", bytes_of("!?"));
  writer.finish();
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("w":{"dtype":"U8","shape":[2,1],"data_offsets":[0,2]}})";
  const std::string spaces((8 - header.size() % 8) % 8, ' ');
  const std::string length(1, static_cast<char>(header.size() + spaces.size()));
  EXPECT_EQ(read_text(folder / "x"),
            length + std::string(7, '\0') + header + spaces + "!?");
}

TEST(SafetensorsWriter, DataBeginsAtAMultipleOfEight) {
  const TempFolder folder;
  for (std::string name = "w"; name.size() < 10; name += 'w') {
    SafetensorsWriter writer(folder / name, {{name, DType::kU8, {1}}}, {});
    writer.write(name, bytes_of("x"));
    writer.finish();
    EXPECT_EQ(SafetensorsFile(folder / name).tensors()[0].offset % 8, 0) << name;
  }
}

TEST(SafetensorsWriter, AFileWithoutTensorsIsValid) {
  const TempFolder folder;
  SafetensorsWriter(folder / "x", {}, {}).finish();
  EXPECT_TRUE(SafetensorsFile(folder / "x").tensors().empty());
}

TEST(SafetensorsWriter, RefusesAnythingOutOfOrder) {
  const TempFolder folder;
  SafetensorsWriter writer(folder / "x", kSpecs);
  EXPECT_THROW(writer.write("m", bytes_of("ijk")), std::logic_error);
  EXPECT_THROW(writer.write("other", bytes_of("x")), std::logic_error);
  EXPECT_THROW(writer.write("z", bytes_of("0123456789abcdef!")), std::logic_error);
  writer.write("z", bytes_of("0123456789abcdef"));
  EXPECT_THROW(writer.write("z", bytes_of("!")), std::logic_error);
  writer.write(kSpecs[2].name, bytes_of("gh"));
  EXPECT_THROW(writer.finish(), std::logic_error);
  writer.write("m", bytes_of("ijk"));
  EXPECT_THROW(writer.write("m", bytes_of("!")), std::logic_error);
  writer.finish();
  EXPECT_EQ(SafetensorsFile(folder / "x").tensors().size(), kSpecs.size());
}

TEST(SafetensorsWriter, RefusesNamesThatTheFormatCannotHold) {
  const TempFolder folder;
  const TensorSpec w = {"w", DType::kU8, {1}};
  EXPECT_THROW(SafetensorsWriter(folder / "x", {w, w}), std::logic_error);
  EXPECT_THROW(SafetensorsWriter(folder / "x", {{"__metadata__", DType::kU8, {1}}}),
               std::logic_error);
}

TEST(SafetensorsWriter, UnfinishedLeavesNothing) {
  const TempFolder folder;
  {
    SafetensorsWriter writer(folder / "x", kSpecs);
    writer.write("z", bytes_of("0123"));
  }
  EXPECT_EQ(count_files(folder.path()), 0u);
}

}  // namespace
}  // namespace lowmem

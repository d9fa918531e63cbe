// A safetensors file. An input that begins with '{' is a header: it gets the length and
// the data that it asks for, as far as a sparse file can hold them. Any other is a whole
// file.

#include "io/safetensors_header.h"

#include <algorithm>
#include <vector>

#include "lowmem/io/convert.h"
#include "support.h"

using namespace lowmem;

namespace {

constexpr int64_t kLargestData = int64_t{1} << 40;
constexpr int64_t kLargestTensor = 1 << 16;  // elements

void write_with_header(fuzz::InputFile& file, std::string_view header) {
  int64_t end = 0;
  fuzz::only_errors([&] {
    for (const TensorInfo& tensor : parse_safetensors_header("input", header).tensors)
      end = std::max(end, tensor.offset + tensor.bytes());
  });
  std::string content;
  for (int shift = 0; shift < 64; shift += 8)
    content += static_cast<char>(header.size() >> shift & 0xFF);
  file.write(content.append(header), std::min(end, kLargestData));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::InputFile input;
  const std::string_view text = fuzz::text_of(data, size);
  if (text.starts_with('{'))
    write_with_header(input, text);
  else
    input.write(text);
  fuzz::only_errors([] {
    const SafetensorsFile file(input.path());
    for (const TensorInfo& tensor : file.tensors()) {
      fuzz::require(file.find(tensor.name) == &tensor);
      if (tensor.count() > kLargestTensor) continue;
      std::vector<std::byte> values(static_cast<size_t>(tensor.count()) * 4);
      fuzz::only_errors([&] { file.read_as(DType::kF32, tensor, values); });
    }
  });
  return 0;
}

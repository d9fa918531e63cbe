// The embedding table's gradient against a plain loop.
#include "lowmem/kernels/embedding.h"

#include <map>

#include "emulation/support.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

// Types of the tokens' gradients and of the table.
class EmulatedEmbedding : public testing::TestWithParam<std::tuple<DType, DType>> {
 protected:
  const DType gradient_type_ = std::get<0>(GetParam()),
              table_type_ = std::get<1>(GetParam());
};

// Tokens sorted by id, in their order.
struct Tokens {
  explicit Tokens(const std::vector<int64_t>& of_tokens) {
    std::map<int64_t, std::vector<int64_t>> by_id;
    for (size_t i = 0; i < of_tokens.size(); ++i)
      by_id[of_tokens[i]].push_back(static_cast<int64_t>(i));
    for (const auto& [id, tokens] : by_id) {
      ids.push_back(id);
      order.insert(order.end(), tokens.begin(), tokens.end());
      offsets.push_back(static_cast<int64_t>(order.size()));
    }
  }
  EmbeddingArgs args(const Numbers& gradient, int64_t columns) const {
    return {gradient.read_only(), columns,        static_cast<int64_t>(ids.size()),
            ids.data(),           offsets.data(), order.data()};
  }
  std::vector<int64_t> ids, offsets{0}, order;
};

constexpr int64_t kVocabulary = 11;
const std::vector<int64_t> kIds{7, 2, 7, 7, 0, 2, 10, 7, 7, 3, 7, 0};

TEST_P(EmulatedEmbedding, TokensOfOneIdAreSummedInTheirOrder) {
  const Tokens tokens(kIds);
  for (const int64_t columns : test::lengths())
    for (const int64_t shift : test::kShifts) {
      const auto count = static_cast<int64_t>(kIds.size());
      const Numbers gradient(count * columns, gradient_type_, shift, 1);
      Numbers want(kVocabulary * columns, table_type_, shift, 2);
      for (size_t k = 0; k < tokens.ids.size(); ++k)
        for (int64_t i = 0; i < columns; ++i) {
          const int64_t at = tokens.ids[k] * columns + i;
          float sum = want.at(at);
          for (size_t j = 0; j < kIds.size(); ++j)
            if (kIds[j] == tokens.ids[k])
              sum += gradient.at(static_cast<int64_t>(j) * columns + i);
          want.set(at, sum);
        }
      const std::string got = test::for_all_launches([&] {
        Numbers table(kVocabulary * columns, table_type_, shift, 2);
        emulated::embedding_gradient(tokens.args(gradient, columns), table.array(),
                                     nullptr);
        return table.bytes();
      });
      EXPECT_TRUE(got == want.bytes()) << columns;
    }
}

TEST_P(EmulatedEmbedding, NoTokensChangeNothing) {
  Numbers table(kVocabulary * 8, table_type_, 0, 2);
  const std::string before = table.bytes();
  EmbeddingArgs args;
  args.gradient.dtype = gradient_type_;
  args.columns = 8;
  emulated::embedding_gradient(args, table.array(), nullptr);
  EXPECT_EQ(table.bytes(), before);
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedEmbedding,
                         testing::Combine(testing::ValuesIn(test::kTypes),
                                          testing::ValuesIn(test::kTypes)),
                         [](const auto& given) {
                           return test::type_name(std::get<0>(given.param)) +
                                  test::type_name(std::get<1>(given.param));
                         });

}  // namespace
}  // namespace lowmem::kernels

#include <algorithm>
#include <charconv>

#include "template/parser.h"

namespace lowmem::jinja {
namespace {

using Kind = Expression::Kind;

constexpr int kDeepest = 100;
// Of a chain as a + b + c, which is as deep as it is long.
constexpr int kLongestChain = 400;

}  // namespace

// What is below a node, once all of it is there.
void measure(Expression& node) {
  int deepest = 0;
  for (const ExpressionPtr& operand : node.operands)
    if (operand) deepest = std::max(deepest, operand->depth);
  for (const auto& [name, operand] : node.named)
    deepest = std::max(deepest, operand->depth);
  node.depth = deepest + 1;
}

Parser::Depth::Depth(Parser& parser) : parser_(parser) {
  if (++parser_.depth_ > kDeepest) {
    --parser_.depth_;
    parser_.fail("nests deeper than " + std::to_string(kDeepest));
  }
}

void Parser::fail(const std::string& problem, const char* remedy) const {
  throw Failure{here().line, problem, remedy};
}

void Parser::unexpected(const std::string& wanted) const {
  const Token& token = here();
  fail("has " + (token.kind == Token::Kind::kEnd ? "its end" : "\"" + token.text + "\"") +
       " where " + wanted + " is expected");
}

bool Parser::take_operator(std::string_view text) {
  if (!is_operator(text)) return false;
  ++at_;
  return true;
}

bool Parser::take_name(std::string_view text) {
  if (!is_name(text)) return false;
  ++at_;
  return true;
}

void Parser::expect_operator(std::string_view text) {
  if (!take_operator(text)) unexpected(std::string(text));
}

void Parser::expect_name(std::string_view text) {
  if (!take_name(text)) unexpected(std::string(text));
}

std::string Parser::identifier() {
  if (here().kind != Token::Kind::kName) unexpected("a name");
  return tokens_[at_++].text;
}

Name Parser::number_of(const std::string& name) {
  const auto [found, is_new] =
      names_.try_emplace(name, static_cast<Name>(tree_.names.size()));
  if (is_new) tree_.names.push_back(name);
  return found->second;
}

ExpressionPtr Parser::make(Kind kind, ExpressionPtr first, ExpressionPtr second) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = here().line;
  if (first) add(*node, std::move(first));
  if (second) add(*node, std::move(second));
  return node;
}

void Parser::add(Expression& node, ExpressionPtr operand) const {
  if (operand) {
    measure(*operand);
    if (operand->depth > kLongestChain)
      fail("has an expression of more than " + std::to_string(kLongestChain) + " steps");
  }
  node.operands.push_back(std::move(operand));
}

// Expressions with commas between them: a tuple without brackets.
ExpressionPtr Parser::tuple(bool takes_if) {
  ExpressionPtr first = expression(takes_if);
  if (!is_operator(",")) return first;
  auto node = make(Kind::kTuple, std::move(first));
  while (take_operator(",")) {
    if (here().kind == Token::Kind::kVariableEnd ||
        here().kind == Token::Kind::kBlockEnd || is_operator(")"))
      break;
    add(*node, expression(takes_if));
  }
  return node;
}

ExpressionPtr Parser::expression(bool takes_if) {
  const Depth depth(*this);
  ExpressionPtr node = either();
  while (takes_if && take_name("if")) {
    auto chosen = make(Kind::kIf, std::move(node));
    add(*chosen, either());
    add(*chosen, take_name("else") ? expression() : nullptr);
    node = std::move(chosen);
  }
  return node;
}

ExpressionPtr Parser::either() {
  ExpressionPtr node = both();
  while (take_name("or")) {
    ExpressionPtr right = both();
    node = make(Kind::kOr, std::move(node), std::move(right));
  }
  return node;
}

ExpressionPtr Parser::both() {
  ExpressionPtr node = negation();
  while (take_name("and")) {
    ExpressionPtr right = negation();
    node = make(Kind::kAnd, std::move(node), std::move(right));
  }
  return node;
}

ExpressionPtr Parser::negation() {
  if (!take_name("not")) return comparison();
  const Depth depth(*this);
  return make(Kind::kNot, negation());
}

ExpressionPtr Parser::comparison() {
  ExpressionPtr node = sum();
  ExpressionPtr chain;
  while (true) {
    std::string sign;
    for (const char* each : {"==", "!=", "<", "<=", ">", ">="})
      if (is_operator(each)) sign = each;
    if (is_name("in")) sign = "in";
    if (is_name("not") && after().kind == Token::Kind::kName && after().text == "in") {
      sign = "not in";
      ++at_;
    }
    if (sign.empty()) break;
    ++at_;
    if (!chain) chain = make(Kind::kCompare, std::move(node));
    chain->operators.push_back(sign);
    add(*chain, sum());
  }
  return chain ? std::move(chain) : std::move(node);
}

ExpressionPtr Parser::sum() {
  ExpressionPtr node = concatenation();
  while (is_operator("+") || is_operator("-")) {
    const std::string sign = tokens_[at_++].text;
    ExpressionPtr right = concatenation();
    node = make(Kind::kArithmetic, std::move(node), std::move(right));
    node->text = sign;
  }
  return node;
}

ExpressionPtr Parser::concatenation() {
  ExpressionPtr node = product();
  if (!is_operator("~")) return node;
  node = make(Kind::kConcatenate, std::move(node));
  while (take_operator("~")) add(*node, product());
  return node;
}

ExpressionPtr Parser::product() {
  ExpressionPtr node = power();
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
    const std::string sign = tokens_[at_++].text;
    ExpressionPtr right = power();
    node = make(Kind::kArithmetic, std::move(node), std::move(right));
    node->text = sign;
  }
  return node;
}

ExpressionPtr Parser::power() {
  ExpressionPtr node = unary();
  while (take_operator("**")) {
    ExpressionPtr right = unary();
    node = make(Kind::kArithmetic, std::move(node), std::move(right));
    node->text = "**";
  }
  return node;
}

ExpressionPtr Parser::unary(bool takes_filters) {
  const Depth depth(*this);
  ExpressionPtr node;
  if (take_operator("-"))
    node = make(Kind::kNegative, unary(false));
  else if (take_operator("+"))
    node = make(Kind::kPositive, unary(false));
  else
    node = primary();
  node = postfix(std::move(node));
  return takes_filters ? filters(std::move(node)) : std::move(node);
}

ExpressionPtr Parser::primary() {
  const Token token = here();
  auto node = make(Kind::kConstant);
  switch (token.kind) {
    case Token::Kind::kName:
      ++at_;
      if (token.text == "true" || token.text == "True") {
        node->constant = true;
      } else if (token.text == "false" || token.text == "False") {
        node->constant = false;
      } else if (token.text != "none" && token.text != "None") {
        node->kind = Kind::kName;
        node->text = token.text;
        node->name = number_of(token.text);
      }
      return node;
    case Token::Kind::kString: {
      std::string text;
      while (here().kind == Token::Kind::kString) text += tokens_[at_++].text;
      node->constant = Value::text(std::move(text));
      return node;
    }
    case Token::Kind::kInteger: {
      ++at_;
      const char kind =
          token.text.size() > 1 ? static_cast<char>(token.text[1] | 0x20) : '\0';
      const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
      const char* begin = token.text.data() + (base == 10 ? 0 : 2);
      const char* end = token.text.data() + token.text.size();
      int64_t number = 0;
      const auto read = std::from_chars(begin, end, number, base);
      if (read.ec != std::errc{} || read.ptr != end)
        fail("has the number " + token.text + ", which is none of at most 64 bits");
      node->constant = number;
      return node;
    }
    case Token::Kind::kFloat: {
      ++at_;
      double number = 0;
      const auto read = std::from_chars(token.text.data(),
                                        token.text.data() + token.text.size(), number);
      if (read.ec != std::errc{})
        fail("has the number " + token.text + ", which no double holds");
      node->constant = number;
      return node;
    }
    case Token::Kind::kOperator:
      if (token.text == "(") return brackets();
      if (token.text == "[") {
        ++at_;
        node->kind = Kind::kList;
        while (!take_operator("]")) {
          if (!node->operands.empty()) expect_operator(",");
          if (take_operator("]")) break;
          add(*node, expression());
        }
        return node;
      }
      if (token.text == "{") return braces();
      [[fallthrough]];
    default:
      unexpected("a value");
  }
}

ExpressionPtr Parser::brackets() {
  ++at_;
  auto node = make(Kind::kTuple);
  if (take_operator(")")) return node;
  node = tuple();
  expect_operator(")");
  return node;
}

ExpressionPtr Parser::braces() {
  ++at_;
  auto node = make(Kind::kDict);
  while (!take_operator("}")) {
    if (!node->operands.empty()) expect_operator(",");
    if (take_operator("}")) break;
    add(*node, expression());
    expect_operator(":");
    add(*node, expression());
  }
  return node;
}

}  // namespace lowmem::jinja

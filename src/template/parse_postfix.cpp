// What stands behind a value: attributes, subscripts, calls, filters and tests.
#include <utility>

#include "template/functions.h"
#include "template/parser.h"

namespace lowmem::jinja {
namespace {

using Kind = Expression::Kind;

}  // namespace

ExpressionPtr Parser::postfix(ExpressionPtr node) {
  while (true) {
    if (take_operator(".")) {
      const Token token = here();
      if (token.kind == Token::Kind::kInteger) {
        auto number = primary();
        node = make(Kind::kSubscript, std::move(node), std::move(number));
        continue;
      }
      std::string name = identifier();
      if (name.starts_with("__"))
        fail("asks for " + name + ", which Jinja's sandbox keeps closed", kOtherTemplate);
      node = make(Kind::kAttribute, std::move(node));
      node->text = std::move(name);
    } else if (take_operator("[")) {
      node = subscript(std::move(node));
    } else if (is_operator("(")) {
      node = make(Kind::kCall, std::move(node));
      arguments(*node);
    } else {
      return node;
    }
  }
}

ExpressionPtr Parser::subscript(ExpressionPtr node) {
  ExpressionPtr parts[3];
  size_t part = 0;
  bool slice = false;
  while (!take_operator("]")) {
    if (take_operator(":")) {
      slice = true;
      if (++part == 3) unexpected("]");
    } else if (!parts[part]) {
      parts[part] = slice ? expression() : tuple();
    } else {
      unexpected("]");
    }
  }
  if (!slice && !parts[0]) unexpected("a subscript");
  auto result = make(slice ? Kind::kSlice : Kind::kSubscript, std::move(node));
  if (!slice) {
    add(*result, std::move(parts[0]));
    return result;
  }
  for (ExpressionPtr& each : parts) add(*result, std::move(each));
  return result;
}

void Parser::arguments(Expression& call) {
  expect_operator("(");
  bool first = true;
  while (!take_operator(")")) {
    if (!std::exchange(first, false)) {
      expect_operator(",");
      if (take_operator(")")) break;
    }
    if (is_operator("*") || is_operator("**"))
      fail("spreads a list over arguments, which is not implemented", kOtherTemplate);
    if (here().kind == Token::Kind::kName && after().kind == Token::Kind::kOperator &&
        after().text == "=") {
      std::string name = identifier();
      ++at_;
      for (const auto& [other, value] : call.named)
        if (other == name) fail("gives the argument " + name + " twice");
      ExpressionPtr value = expression();
      measure(*value);
      call.named.emplace_back(std::move(name), std::move(value));
      continue;
    }
    if (!call.named.empty()) fail("has an argument without a name behind one with one");
    add(call, expression());
  }
}

ExpressionPtr Parser::filters(ExpressionPtr node) {
  while (true) {
    if (take_operator("|"))
      node = filter(std::move(node));
    else if (is_name("is"))
      node = test(std::move(node));
    else if (is_operator("("))
      node = postfix(std::move(node));
    else
      return node;
  }
}

// The filter whose name is here, applied to `node`.
ExpressionPtr Parser::filter(ExpressionPtr node) {
  auto result = make(Kind::kFilter, std::move(node));
  result->text = identifier();
  while (take_operator(".")) result->text += "." + identifier();
  result->filter = filter_named(result->text);
  if (result->filter == nullptr)
    fail("has the filter " + result->text + ", which is not known here", kOtherTemplate);
  if (is_operator("(")) arguments(*result);
  if (result->text == "safe" &&
      (is_operator("|") || here().kind != Token::Kind::kVariableEnd))
    fail(
        "uses the filter safe elsewhere than at an output's end, which is not "
        "implemented",
        kOtherTemplate);
  return result;
}

ExpressionPtr Parser::test(ExpressionPtr node) {
  ++at_;
  const bool negated = take_name("not");
  auto result = make(Kind::kTest, std::move(node));
  result->text = identifier();
  while (take_operator(".")) result->text += "." + identifier();
  result->test = test_named(result->text);
  if (result->test == nullptr)
    fail("has the test " + result->text + ", which is not known here", kOtherTemplate);
  if (is_operator("(")) {
    arguments(*result);
  } else if ((here().kind == Token::Kind::kName && !is_name("else") && !is_name("or") &&
              !is_name("and")) ||
             here().kind == Token::Kind::kString ||
             here().kind == Token::Kind::kInteger || here().kind == Token::Kind::kFloat ||
             is_operator("[") || is_operator("{")) {
    if (is_name("is")) fail("has a test behind a test");
    add(*result, postfix(primary()));
  }
  return negated ? make(Kind::kNot, std::move(result)) : std::move(result);
}

}  // namespace lowmem::jinja

#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "template/lexer.h"
#include "template/tree.h"

namespace lowmem::jinja {

// Says of a node how deep it is, once all that is below it is there.
void measure(Expression& node);

// Reads tokens as Jinja's grammar has them. What is not implemented is a Failure that
// names it.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Tree parse();

 private:
  // Statements: parse_statements.cpp.
  Block block_until(std::initializer_list<std::string_view> ends);
  std::unique_ptr<Statement> statement();
  std::unique_ptr<Statement> if_statement();
  std::unique_ptr<Statement> for_statement();
  std::unique_ptr<Statement> set_statement();
  std::unique_ptr<Statement> macro_statement();
  std::unique_ptr<Statement> call_statement();
  std::unique_ptr<Statement> filter_statement();
  std::unique_ptr<Statement> with_statement();
  std::unique_ptr<Statement> generation_statement();
  std::vector<Parameter> parameters();
  Target target(bool takes_attribute);
  Target target_part(bool takes_attribute);
  void end_of_block();

  // Expressions: parse_expressions.cpp, and parse_postfix.cpp from postfix() on.
  ExpressionPtr expression(bool takes_if = true);
  ExpressionPtr tuple(bool takes_if = true);
  ExpressionPtr either();
  ExpressionPtr both();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool takes_filters = true);
  ExpressionPtr primary();
  ExpressionPtr brackets();
  ExpressionPtr braces();
  ExpressionPtr postfix(ExpressionPtr node);
  ExpressionPtr subscript(ExpressionPtr node);
  ExpressionPtr filters(ExpressionPtr node);
  ExpressionPtr filter(ExpressionPtr node);
  ExpressionPtr test(ExpressionPtr node);
  void arguments(Expression& call);
  ExpressionPtr make(Expression::Kind kind, ExpressionPtr first = nullptr,
                     ExpressionPtr second = nullptr) const;
  void add(Expression& node, ExpressionPtr operand) const;

  const Token& here() const { return tokens_[at_]; }
  const Token& after() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is(Token::Kind kind, std::string_view text) const {
    return here().kind == kind && here().text == text;
  }
  bool is_operator(std::string_view text) const {
    return is(Token::Kind::kOperator, text);
  }
  bool is_name(std::string_view text) const { return is(Token::Kind::kName, text); }
  bool take_operator(std::string_view text);
  bool take_name(std::string_view text);
  void expect_operator(std::string_view text);
  void expect_name(std::string_view text);
  std::string identifier();
  Name number_of(const std::string& name);
  [[noreturn]] void fail(const std::string& problem,
                         const char* remedy = kRepairTemplate) const;
  [[noreturn]] void unexpected(const std::string& wanted) const;

  // Counts how deep the text nests, for the stack's sake.
  class Depth {
   public:
    explicit Depth(Parser& parser);
    ~Depth() { --parser_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    Parser& parser_;
  };

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  Tree tree_;
  std::unordered_map<std::string, Name> names_;
  bool in_macro_ = false, in_loop_ = false;
};

}  // namespace lowmem::jinja

#include <algorithm>

#include "template/parser.h"

namespace lowmem::jinja {
namespace {

using Kind = Statement::Kind;

constexpr int kMostBranches = 400;

std::unique_ptr<Statement> make_statement(Kind kind, int line) {
  auto statement = std::make_unique<Statement>();
  statement->kind = kind;
  statement->line = line;
  return statement;
}

}  // namespace

Tree Parser::parse() {
  tree_.body = block_until({});
  return std::move(tree_);
}

// Statements up to a tag of `ends`, which is here afterwards; with none, up to the end.
Block Parser::block_until(std::initializer_list<std::string_view> ends) {
  const Depth depth(*this);
  const int begun = at_ == 0 ? 1 : tokens_[at_ - 1].line;  // the tag before it
  Block block;
  while (true) {
    const Token& token = here();
    switch (token.kind) {
      case Token::Kind::kData: {
        auto data = make_statement(Kind::kData, token.line);
        data->text = token.text;
        block.push_back(std::move(data));
        ++at_;
        break;
      }
      case Token::Kind::kVariableBegin: {
        auto output = make_statement(Kind::kOutput, token.line);
        ++at_;
        output->value = tuple();
        if (here().kind != Token::Kind::kVariableEnd) unexpected("}}");
        ++at_;
        block.push_back(std::move(output));
        break;
      }
      case Token::Kind::kBlockBegin:
        ++at_;
        if (here().kind != Token::Kind::kName) unexpected("the name of a tag");
        if (std::find(ends.begin(), ends.end(), here().text) != ends.end()) return block;
        block.push_back(statement());
        break;
      default:
        if (ends.size() != 0)
          throw Failure{begun, "has no " + std::string(*(ends.end() - 1)) + " here",
                        kRepairTemplate};
        return block;
    }
  }
}

void Parser::end_of_block() {
  if (here().kind != Token::Kind::kBlockEnd) unexpected("%}");
  ++at_;
}

std::unique_ptr<Statement> Parser::statement() {
  const std::string& tag = here().text;
  if (tag == "if") return if_statement();
  if (tag == "for") return for_statement();
  if (tag == "set") return set_statement();
  if (tag == "macro") return macro_statement();
  if (tag == "call") return call_statement();
  if (tag == "filter") return filter_statement();
  if (tag == "with") return with_statement();
  if (tag == "generation") return generation_statement();
  if (tag == "break" || tag == "continue") {
    if (!in_loop_) fail("has " + tag + " outside a loop");
    auto leave =
        make_statement(tag == "break" ? Kind::kBreak : Kind::kContinue, here().line);
    ++at_;
    end_of_block();
    return leave;
  }
  fail("has the tag " + tag + ", which is not known here", kOtherTemplate);
}

std::unique_ptr<Statement> Parser::if_statement() {
  auto first = make_statement(Kind::kIf, here().line);
  Statement* branch = first.get();
  ++at_;
  for (int branches = 1;; ++branches) {
    if (branches > kMostBranches)
      fail("has an if of more than " + std::to_string(kMostBranches) + " branches");
    branch->value = tuple(/*takes_if=*/false);
    end_of_block();
    branch->body = block_until({"elif", "else", "endif"});
    if (take_name("elif")) {
      branch->other.push_back(make_statement(Kind::kIf, here().line));
      branch = branch->other.front().get();
      continue;
    }
    if (take_name("else")) {
      end_of_block();
      branch->other = block_until({"endif"});
    }
    expect_name("endif");
    end_of_block();
    return first;
  }
}

std::unique_ptr<Statement> Parser::for_statement() {
  auto loop = make_statement(Kind::kFor, here().line);
  ++at_;
  loop->target = target(/*takes_attribute=*/false);
  expect_name("in");
  loop->value = tuple(/*takes_if=*/false);
  if (take_name("if")) loop->condition = expression();
  if (is_name("recursive"))
    fail("has a recursive loop, which is not implemented", kOtherTemplate);
  end_of_block();
  const bool outer = std::exchange(in_loop_, true);
  loop->body = block_until({"else", "endfor"});
  in_loop_ = outer;
  if (take_name("else")) {
    end_of_block();
    loop->other = block_until({"endfor"});
  }
  expect_name("endfor");
  end_of_block();
  return loop;
}

std::unique_ptr<Statement> Parser::set_statement() {
  auto set = make_statement(Kind::kSet, here().line);
  ++at_;
  set->target = target(/*takes_attribute=*/true);
  if (take_operator("=")) {
    set->value = tuple();
    end_of_block();
    return set;
  }
  set->kind = Kind::kSetBlock;
  if (set->target.kind == Target::Kind::kTuple) unexpected("=");
  if (is_operator("|")) {
    auto captured = make(Expression::Kind::kName);
    captured->name = number_of("");
    set->name = captured->name;
    set->value = filters(std::move(captured));
  }
  end_of_block();
  set->body = block_until({"endset"});
  expect_name("endset");
  end_of_block();
  return set;
}

std::unique_ptr<Statement> Parser::macro_statement() {
  auto macro = make_statement(Kind::kMacro, here().line);
  ++at_;
  macro->text = identifier();
  macro->name = number_of(macro->text);
  expect_operator("(");
  macro->parameters = parameters();
  end_of_block();
  const bool outer = std::exchange(in_macro_, true);
  const bool loop = std::exchange(in_loop_, false);
  macro->body = block_until({"endmacro"});
  in_macro_ = outer;
  in_loop_ = loop;
  expect_name("endmacro");
  end_of_block();
  return macro;
}

// Up to the closing bracket.
std::vector<Parameter> Parser::parameters() {
  std::vector<Parameter> all;
  while (!take_operator(")")) {
    if (!all.empty()) expect_operator(",");
    Parameter parameter{number_of(identifier()), nullptr};
    if (take_operator("="))
      parameter.fallback = expression();
    else if (!all.empty() && all.back().fallback)
      fail("has a parameter without a default behind one with one");
    all.push_back(std::move(parameter));
  }
  return all;
}

std::unique_ptr<Statement> Parser::call_statement() {
  auto call = make_statement(Kind::kCall, here().line);
  ++at_;
  if (take_operator("(")) call->parameters = parameters();
  call->value = expression();
  if (call->value->kind != Expression::Kind::kCall) unexpected("a call");
  end_of_block();
  const bool outer = std::exchange(in_macro_, true);
  const bool loop = std::exchange(in_loop_, false);
  call->body = block_until({"endcall"});
  in_macro_ = outer;
  in_loop_ = loop;
  expect_name("endcall");
  end_of_block();
  return call;
}

std::unique_ptr<Statement> Parser::filter_statement() {
  auto filtered = make_statement(Kind::kFilter, here().line);
  ++at_;
  auto captured = make(Expression::Kind::kName);
  captured->name = number_of("");
  filtered->name = captured->name;
  filtered->value = filters(filter(std::move(captured)));
  end_of_block();
  filtered->body = block_until({"endfilter"});
  expect_name("endfilter");
  end_of_block();
  return filtered;
}

std::unique_ptr<Statement> Parser::with_statement() {
  auto with = make_statement(Kind::kWith, here().line);
  ++at_;
  while (here().kind != Token::Kind::kBlockEnd) {
    if (!with->values.empty()) expect_operator(",");
    Target to = target_part(/*takes_attribute=*/false);
    expect_operator("=");
    with->values.emplace_back(std::move(to), expression());
  }
  end_of_block();
  with->body = block_until({"endwith"});
  expect_name("endwith");
  end_of_block();
  return with;
}

std::unique_ptr<Statement> Parser::generation_statement() {
  auto generation = make_statement(Kind::kGeneration, here().line);
  if (in_macro_)
    fail(
        "has a generation block inside a macro, where transformers does not find its "
        "place",
        kOtherTemplate);
  ++at_;
  end_of_block();
  tree_.marks_generation = true;
  // transformers makes a macro of it: break and continue do not lead out.
  const bool loop = std::exchange(in_loop_, false);
  generation->body = block_until({"endgeneration"});
  in_loop_ = loop;
  expect_name("endgeneration");
  end_of_block();
  return generation;
}

Target Parser::target(bool takes_attribute) {
  Target first = target_part(takes_attribute);
  if (!is_operator(",")) return first;
  Target tuple;
  tuple.kind = Target::Kind::kTuple;
  tuple.parts.push_back(std::move(first));
  while (take_operator(",")) {
    if (is_operator("=") || is_name("in")) break;
    tuple.parts.push_back(target_part(/*takes_attribute=*/false));
  }
  return tuple;
}

Target Parser::target_part(bool takes_attribute) {
  const Depth depth(*this);
  if (take_operator("(")) {
    Target inner = target(/*takes_attribute=*/false);
    expect_operator(")");
    return inner;
  }
  Target single;
  single.name = number_of(identifier());
  if (takes_attribute && take_operator(".")) {
    single.kind = Target::Kind::kAttribute;
    single.attribute = identifier();
  }
  return single;
}

}  // namespace lowmem::jinja

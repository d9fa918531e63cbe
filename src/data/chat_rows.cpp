// {"messages": [{"role": ..., "content": ...}, ...]} and its older form,
// {"conversations": [{"from": ..., "value": ...}, ...]}.
#include <algorithm>
#include <array>
#include <utility>

#include "data/row_file.h"
#include "lowmem/core/error.h"
#include "lowmem/data/chat.h"

namespace lowmem {
namespace {

using Role = ChatTurn::Role;

constexpr std::array<std::pair<std::string_view, Role>, 5> kRoles = {
    {{"system", Role::kSystem},
     {"user", Role::kUser},
     {"assistant", Role::kAssistant},
     {"human", Role::kUser},
     {"gpt", Role::kAssistant}}};

Role role_of(const std::string& name, const std::string& thing) {
  for (const auto& [word, role] : kRoles)
    if (name == word) return role;
  throw Error(thing + " = " +
                  nlohmann::json(name.substr(0, 40))
                      .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
              "is none of system, user and assistant (or human and gpt)", kRepairLine);
}

// Whether the assistant is not to learn this turn: `weight` as OpenAI's files have it,
// `train` and `loss` as others'.
bool is_left_out(const nlohmann::json& entry, const std::string& turn) {
  bool left_out = false;
  if (has(entry, "weight")) {
    const auto& weight = entry["weight"];
    if (!weight.is_number() || (weight != 0 && weight != 1))
      throw Error(turn + " weight", "is neither 0 nor 1",
                  "Write one of them: turns are learned or not");
    left_out = weight == 0;
  }
  for (const char* key : {"train", "loss"}) {
    if (!has(entry, key)) continue;
    if (!entry[key].is_boolean())
      throw Error(turn + " " + key, "is neither true nor false", kRepairLine);
    left_out = left_out || !entry[key].get<bool>();
  }
  return left_out;
}

// What a turn says beside its text, and would be lost.
void refuse_calls(const nlohmann::json& entry, const std::string& turn) {
  for (const char* key : {"tool_calls", "function_call"})
    if (has(entry, key) && !entry[key].empty())
      throw Error(turn + " " + key, "is not written by any of the chat templates here",
                  "Write the call into the turn's content, as the model is to say it, or "
                  "remove the line");
}

}  // namespace

std::vector<ChatTurn> read_turns(const nlohmann::json& row, const std::string& where) {
  const bool older = !has(row, "messages") && has(row, "conversations");
  const char* list = older ? "conversations" : "messages";
  if (!has(row, list)) throw Error(where + " " + list, "is missing", kRepairLine);
  if (!row[list].is_array() || row[list].empty())
    throw Error(where + " " + list, "is not a list of turns", kRepairLine);
  std::vector<ChatTurn> turns;
  for (const auto& entry : row[list]) {
    const std::string turn =
        where + " " + list + "[" + std::to_string(turns.size()) + "]";
    if (!entry.is_object()) throw Error(turn, "is not an object", kRepairLine);
    refuse_calls(entry, turn);
    const bool from = has(entry, "from") && !has(entry, "role");
    const char* role = from ? "from" : "role";
    turns.push_back({role_of(text_at(entry, role, turn), turn + " " + role),
                     text_at(entry, from ? "value" : "content", turn),
                     is_left_out(entry, turn)});
  }
  if (has(row, "system")) {
    if (turns.front().role == Role::kSystem)
      throw Error(where + " system",
                  "stands beside a first turn that is the system's too",
                  "Keep one of the two");
    if (std::string system = text_at(row, "system", where); !system.empty())
      turns.insert(turns.begin(), {Role::kSystem, std::move(system)});
  }
  if (std::none_of(turns.begin(), turns.end(),
                   [](const ChatTurn& turn) { return turn.learned(); }))
    throw Error(where + " " + list, "has no turn of the assistant to learn", kRepairLine);
  return turns;
}

}  // namespace lowmem

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
    const bool from = has(entry, "from") && !has(entry, "role");
    const char* role = from ? "from" : "role";
    turns.push_back({role_of(text_at(entry, role, turn), turn + " " + role),
                     text_at(entry, from ? "value" : "content", turn)});
  }
  if (std::none_of(turns.begin(), turns.end(),
                   [](const ChatTurn& turn) { return turn.role == Role::kAssistant; }))
    throw Error(where + " " + list, "has no turn of the assistant to learn", kRepairLine);
  return turns;
}

}  // namespace lowmem

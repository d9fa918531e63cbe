// `precompiled_charsmap` of sentencepiece_model.proto: the size of a double-array trie
// (32 bits, little-endian), the trie, and texts that each end in a zero byte. The trie is
// that of Darts-clone: 32-bit units, in which a key's value is the place of its text.

#include "tokenizer/character_map.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace lowmem::tokenization {
namespace {

constexpr size_t kLargestMap = 4 << 20;  // bytes; those in use take 0.3 MB
// The library has room for so many keys that begin one another.
constexpr int kMostPrefixes = 32;

uint32_t unit_at(std::string_view bytes, size_t index) {
  uint32_t unit = 0;
  std::memcpy(&unit, bytes.data() + 4 * index, 4);
  return unit;
}

// A unit of the trie, by the rules of Darts-clone.
struct Unit {
  uint32_t bits;
  bool has_value() const { return (bits >> 8 & 1) != 0; }
  uint32_t value() const { return bits & 0x7FFFFFFF; }
  // A byte, or more than any byte in a unit that holds a value.
  uint32_t label() const { return bits & 0x800000FF; }
  uint32_t offset() const { return bits >> 10 << (bits >> 6 & 8); }
};

// Walks the trie from its root over every byte that it accepts. A node is known by where
// its children lie: the one for byte b at place ^ b.
class Trie {
 public:
  Trie(std::string_view units, size_t texts)
      : units_(units), count_(units.size() / 4), texts_(texts), prefixes_(count_, kNew) {}

  bool is_sound() {
    if (count_ == 0 || !enter(Unit{unit_at(units_, 0)}.offset())) return false;
    while (!path_.empty()) {
      Step& step = path_.back();
      if (step.byte == 256) {
        leave();
        continue;
      }
      const uint32_t at = step.place ^ step.byte;
      const Unit unit{unit_at(units_, at)};
      if (unit.label() != step.byte++) continue;
      const uint32_t place = at ^ unit.offset();
      step.has_value = unit.has_value();
      if (!is_place(place) || (unit.has_value() && !has_text(place))) return false;
      if (prefixes_[place] == kOpen) return false;  // a circle
      if (prefixes_[place] == kNew) {
        enter(place);
      } else {
        keep_longest(prefixes_[place] + step.has_value);
      }
    }
    return most_ <= kMostPrefixes;
  }

 private:
  static constexpr int kNew = -1, kOpen = -2;
  struct Step {
    uint32_t place;
    uint32_t byte = 0;       // the next to try
    int prefixes = 0;        // the most keys on one way from here
    bool has_value = false;  // of the child last entered
  };

  // Whether all 256 children are inside.
  bool is_place(uint32_t place) const { return (place | 0xFF) < count_; }
  bool has_text(uint32_t place) const {
    return Unit{unit_at(units_, place)}.value() < texts_;
  }
  bool enter(uint32_t place) {
    if (!is_place(place)) return false;
    prefixes_[place] = kOpen;
    path_.push_back({.place = place});
    return true;
  }
  void leave() {
    const Step done = path_.back();
    path_.pop_back();
    prefixes_[done.place] = done.prefixes;
    most_ = std::max(most_, done.prefixes);
    if (!path_.empty()) keep_longest(done.prefixes + path_.back().has_value);
  }
  void keep_longest(int prefixes) {
    path_.back().prefixes = std::max(path_.back().prefixes, prefixes);
  }

  std::string_view units_;
  size_t count_;
  size_t texts_;               // bytes
  std::vector<int> prefixes_;  // by place, once left
  std::vector<Step> path_;
  int most_ = 0;
};

bool is_sound(std::string_view map) {
  if (map.empty()) return true;
  if (map.size() <= 4 || map.size() > kLargestMap) return false;
  const uint32_t units = unit_at(map, 0);
  map.remove_prefix(4);
  if (units % 4 != 0 || units >= map.size() || map.back() != '\0') return false;
  return Trie(map.substr(0, units), map.size() - units).is_sound();
}

// A field of a protobuf message: its number, and its bytes where it has a length.
struct Field {
  uint32_t number = 0;
  std::optional<std::string_view> bytes;
};

std::optional<uint64_t> take_varint(std::string_view& message) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !message.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(message.front());
    message.remove_prefix(1);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// The first field, taken off the message; nullopt where the message is damaged or uses
// the groups of old, which the library's own parser answers.
std::optional<Field> take_field(std::string_view& message) {
  const auto tag = take_varint(message);
  if (!tag) return std::nullopt;
  // Protobuf keeps 32 bits of a tag, whatever follows.
  Field field{static_cast<uint32_t>(*tag) >> 3, std::nullopt};
  size_t size = 0;
  switch (*tag & 7) {
    case 0:
      return take_varint(message) ? std::optional(field) : std::nullopt;
    case 1:
      size = 8;
      break;
    case 2: {
      const auto length = take_varint(message);
      if (!length || *length > message.size()) return std::nullopt;
      size = *length;
      field.bytes = message.substr(0, size);
      break;
    }
    case 5:
      size = 4;
      break;
    default:
      return std::nullopt;
  }
  if (size > message.size()) return std::nullopt;
  message.remove_prefix(size);
  return field;
}

// Calls use(bytes) for each field `number` of a message; false where one of them, or the
// message, is damaged.
template <class Use>
bool all_of_field(std::string_view message, uint32_t number, const Use& use) {
  while (!message.empty()) {
    const auto field = take_field(message);
    if (!field) return false;
    if (field->number == number && field->bytes && !use(*field->bytes)) return false;
  }
  return true;
}

}  // namespace

bool has_sound_character_maps(std::string_view model) {
  constexpr uint32_t kNormalizer = 3, kDenormalizer = 5, kCharacterMap = 2;
  const auto maps_are_sound = [](std::string_view spec) {
    return all_of_field(spec, kCharacterMap, is_sound);
  };
  return all_of_field(model, kNormalizer, maps_are_sound) &&
         all_of_field(model, kDenormalizer, maps_are_sound);
}

}  // namespace lowmem::tokenization

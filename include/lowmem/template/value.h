#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// What a chat template computes with: Python's values, as far as templates meet them.
namespace lowmem::jinja {

// Where a byte of a text comes from: 0 is the template itself, any other number what the
// caller means by it. Every operation on texts keeps it, so that of each byte of the
// output it can be said who wrote it.
using Source = uint32_t;
inline constexpr Source kOwn = 0;

// UTF-8 with its sources, as runs of bytes. Appending costs the bytes appended.
class Text {
 public:
  Text() = default;
  explicit Text(std::string bytes, Source source = kOwn);

  const std::string& bytes() const { return bytes_; }
  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  void append(std::string_view bytes, Source source);
  void append(const Text& text) { append(text, 0, text.size()); }
  void append(const Text& text, size_t begin, size_t end);  // its bytes [begin, end)
  Text part(size_t begin, size_t end) const;
  Source source_at(size_t at) const;  // O(log runs)

  // The first byte after each run, and the run's source.
  struct Run {
    size_t end;
    Source source;
  };
  const std::vector<Run>& runs() const { return runs_; }

 private:
  std::string bytes_;
  std::vector<Run> runs_;
};

class Value;

// What Python keeps in order; the kind says how it may be used and how it prints.
struct Sequence {
  enum class Kind { kList, kTuple, kKeys, kValues, kItems, kGenerator } kind;
  std::vector<Value> items;
  size_t taken = 0;  // of a generator's items, which can be had once
  int depth = 1;     // lists and dicts below, with itself
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in the order of insertion
  int depth = 1;
  const Value* find(std::string_view key) const;
};

struct Range {
  int64_t begin, end, step, count;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> items;
};

// Macros, methods, functions and loops: the interpreter's own.
class Object {
 public:
  virtual ~Object() = default;
  virtual int depth() const { return 1; }
};

struct Undefined {
  std::string what;  // "message.name", for errors
};
struct None {};

class Value {
 public:
  Value() : held_(None{}) {}
  Value(bool truth) : held_(truth) {}       // NOLINT: a value is one
  Value(int64_t number) : held_(number) {}  // NOLINT
  Value(double number) : held_(number) {}   // NOLINT
  Value(Text text) : held_(std::make_shared<const Text>(std::move(text))) {}  // NOLINT
  Value(std::shared_ptr<const Text> text) : held_(std::move(text)) {}         // NOLINT
  Value(std::shared_ptr<Sequence> items) : held_(std::move(items)) {}         // NOLINT
  Value(std::shared_ptr<const Dict> dict) : held_(std::move(dict)) {}         // NOLINT
  Value(std::shared_ptr<Namespace> names) : held_(std::move(names)) {}        // NOLINT
  Value(std::shared_ptr<const Object> object) : held_(std::move(object)) {}   // NOLINT
  Value(Range range) : held_(range) {}                                        // NOLINT
  Value(const void*) = delete;

  // All texts in `json` have this source. Throws Error for an integer beyond 64 bits.
  static Value of(const nlohmann::ordered_json& json, Source source);
  static Value text(std::string bytes, Source source = kOwn) {
    return Text(std::move(bytes), source);
  }
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value sequence(Sequence::Kind kind, std::vector<Value> items);
  static Value dict(std::vector<std::pair<std::string, Value>> items);
  static Value dict(std::vector<std::pair<Value, Value>> items);
  static Value undefined(std::string what);

  template <class T>
  const T* get() const {
    return std::get_if<T>(&held_);
  }
  // How deep lists and dicts nest in it; 0 for what holds no other value.
  int depth() const;

  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_none() const { return get<None>() != nullptr; }
  const Text* as_text() const { return shared<const Text>(); }
  Sequence* as_sequence() const { return shared<Sequence>(); }
  const Dict* as_dict() const { return shared<const Dict>(); }
  Namespace* as_namespace() const { return shared<Namespace>(); }
  const Object* as_object() const { return shared<const Object>(); }

 private:
  template <class T>
  T* shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&held_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  std::variant<None, Undefined, bool, int64_t, double, Range, std::shared_ptr<const Text>,
               std::shared_ptr<Sequence>, std::shared_ptr<const Dict>,
               std::shared_ptr<Namespace>, std::shared_ptr<const Object>>
      held_;
};

}  // namespace lowmem::jinja

#pragma once

#include <array>
#include <string_view>

// The words that the demo's sentences are made of.
namespace lowmem::demo {

// Any verb goes with any object, and no word but "the" belongs to two topics.
struct Topic {
  std::string_view activity;  // "Baking bread"
  std::array<std::string_view, 2> places;
  std::array<std::string_view, 4> tools;
  std::array<std::string_view, 3> verbs;
  std::array<std::string_view, 3> objects;
};

struct Person {
  std::string_view noun;
  std::string_view pronoun;
};

constexpr std::array<Topic, 10> kTopics = {{
    {"Baking bread",
     {"kitchen", "bakery"},
     {"flour", "tray", "apron", "yeast"},
     {"kneads", "bakes", "slices"},
     {"dough", "loaf", "roll"}},
    {"Washing cars",
     {"driveway", "garage"},
     {"hose", "sponge", "bucket", "soap"},
     {"rinses", "polishes", "dries"},
     {"windshield", "hood", "bumper"}},
    {"Playing guitar",
     {"theater", "studio"},
     {"guitar", "amplifier", "microphone", "speaker"},
     {"plays", "hums", "performs"},
     {"song", "tune", "melody"}},
    {"Catching fish",
     {"boathouse", "harbor"},
     {"rod", "hook", "bait", "net"},
     {"catches", "releases", "weighs"},
     {"trout", "salmon", "pike"}},
    {"Planting flowers",
     {"garden", "greenhouse"},
     {"shovel", "seeds", "pot", "soil"},
     {"waters", "plants", "trims"},
     {"roses", "tulips", "bushes"}},
    {"Cutting hair",
     {"salon", "barbershop"},
     {"scissors", "comb", "mirror", "cape"},
     {"brushes", "curls", "braids"},
     {"ponytail", "fringe", "locks"}},
    {"Chopping wood",
     {"forest", "cabin"},
     {"axe", "saw", "gloves", "wedge"},
     {"splits", "stacks", "chops"},
     {"logs", "branches", "planks"}},
    {"Riding horses",
     {"stable", "barn"},
     {"saddle", "bridle", "hay", "reins"},
     {"mounts", "feeds", "leads"},
     {"horse", "pony", "mare"}},
    {"Repairing bicycles",
     {"shed", "workshop"},
     {"wrench", "pump", "screwdriver", "grease"},
     {"tightens", "replaces", "adjusts"},
     {"brakes", "chain", "pedals"}},
    {"Making coffee",
     {"cafe", "diner"},
     {"mug", "grinder", "kettle", "beans"},
     {"brews", "sips", "serves"},
     {"espresso", "latte", "cappuccino"}},
}};

constexpr std::array<Person, 10> kPeople = {{{"man", "he"},
                                             {"woman", "she"},
                                             {"boy", "he"},
                                             {"girl", "she"},
                                             {"father", "he"},
                                             {"mother", "she"},
                                             {"brother", "he"},
                                             {"sister", "she"},
                                             {"grandfather", "he"},
                                             {"grandmother", "she"}}};

// In these, %person, %place, %tool, %other (a second tool), %activity, %Activity,
// %pronoun and %Pronoun stand for words of the row.
constexpr std::array<std::string_view, 8> kContexts = {
    "A %person is in the %place. %Pronoun picks up the %tool and the %other.",
    "A %person walks to the %place with the %tool. %Pronoun needs the %other too.",
    "We see a %person in the %place. The %tool is there and %pronoun looks for the "
    "%other.",
    "In the %place a %person shows the %tool to us. Then %pronoun puts down the %other.",
    "The %tool and the %other are ready. A %person comes to the %place.",
    "A %person is %activity in the %place. After a while %pronoun takes the %tool.",
    "%Activity takes time. A %person is in the %place and holds the %tool.",
    "A %person is in the %place. %Activity needs the %tool and the %other.",
};

constexpr std::array<std::string_view, 4> kStarts = {
    "%pronoun", "the %person", "then %pronoun", "after that %pronoun"};

// In these, %verb and %object.
constexpr std::array<std::string_view, 6> kEndings = {
    "%verb the %object slowly and with great care.",
    "smiles and %verb the %object.",
    "carefully %verb the %object once more.",
    "%verb the %object while a friend is watching.",
    "takes a deep breath and %verb the %object again.",
    "%verb the %object and looks happy.",
};

}  // namespace lowmem::demo

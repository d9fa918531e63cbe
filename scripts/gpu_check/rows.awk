# Writes rows of exactly known lengths, made of words that the demo's tokenizer reads as one
# token each.
#
#   awk -f rows.awk -v rows=64 -v tokens=160 -v labelled=54
#   awk -f rows.awk -v rows=512 -v spread=1
#
# `tokens` of a row run through the model, BOS among them (the last, EOS, is only predicted);
# `labelled` of them predict something: the ending's words and EOS. With `spread` lengths go
# around as those of HellaSwag rows in Llama-3's tokens do: about 50 in the mean, a seventh
# of them above 100, a bit over a third of each labelled.
function words(count, first, text, i) {
  text = first
  for (i = first == "" ? 1 : 2; i <= count; ++i)
    text = text (text == "" ? "" : " ") vocabulary[1 + place++ % kinds]
  return text
}

BEGIN {
  kinds = split("the he and she needs time looks for a walks to with", vocabulary, " ")
  lengths = split("38 27 45 31 110 34 41 52 29 36 48 120 33 43 26 39 57 97 30 35 44", length_of, " ")
  for (row = 0; row < rows; ++row) {
    if (spread) {
      tokens = length_of[1 + row % lengths]
      labelled = int(tokens * 0.36 + 0.5)
    }
    ending = labelled - 1
    printf "{\"ctx\":\"%s\",\"endings\":[\"%s\",\"the\",\"the\",\"the\"],\"label\":0}\n",
      words(tokens - 1 - ending, "The"), words(ending, "")
  }
}

# Floating-point operations of a training step, from the model's config.json; prints
#   with_recomputation without
#
#   awk -f flops.awk -v tokens=1280 -v labelled=432 -v rows=8 config.json
#
# A product of [N, a] and [a, b] is 2 N a b. Each of a block's products runs once forward,
# once more in recomputation, and twice backward; attention is counted at half a square of
# each row's length, rows taken as equally long. The head sees labelled tokens alone, and is
# not trained: forward, once more for its gradient, and backward to its input. Nominal
# counts: what the program saves by not repeating a product counts as done. The second
# number is the same without repetitions.
{ text = text $0 }

function number(key, otherwise) {
  if (!match(text, "\"" key "\": *[0-9]+")) return otherwise
  return substr(text, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0
}

END {
  hidden = number("hidden_size")
  heads = number("num_attention_heads")
  size = number("head_dim", hidden / heads)
  key_value = number("num_key_value_heads", heads) * size
  block = hidden * (2 * heads * size + 2 * key_value) + 3 * hidden * number("intermediate_size")
  layers = number("num_hidden_layers")
  products = 2 * layers * block * tokens
  attention = 2 * layers * heads * size * tokens * tokens / rows
  head = 2 * number("vocab_size") * hidden * labelled
  printf "%.6g %.6g\n", 4 * (products + attention) + 3 * head, 3 * (products + attention) + 2 * head
}

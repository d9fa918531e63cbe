# Adds up the lines of a metrics.jsonl after the first `warmup` steps; prints
#   steps seconds examples tokens labelled_tokens
function number(key) {
  if (!match($0, "\"" key "\": *[-+0-9.eE]+")) return 0
  return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0
}

{
  count = number("step") - before
  before += count
  if (before - count < warmup) next
  steps += count
  seconds += count * number("step_seconds")
  examples += number("examples")
  tokens += number("tokens")
  labelled += number("labelled_tokens")
}

END { print steps + 0, seconds + 0, examples + 0, tokens + 0, labelled + 0 }

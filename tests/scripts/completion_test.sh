#!/usr/bin/env bash
# Completes command lines with the script that the program prints, as bash would: cut into
# words with and without `=` among COMP_WORDBREAKS.
#
#   completion_test.sh LOWMEM_TRAIN
set -euo pipefail
train=$(realpath "$1")
broken() { printf 'completion_test: %s\n' "$*" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$train" completion bash >"$scratch/completion"
bash -n "$scratch/completion"
mkdir -p "$scratch/files/models"
cd "$scratch/files"
touch run.yaml models/a.jsonl "models/two words.jsonl"

# shellcheck source=/dev/null
source "$scratch/completion"
[ "$(complete -p lowmem-train)" = "complete -F _lowmem_train lowmem-train" ] ||
  broken "nothing is registered for lowmem-train"

# complete_words WORD...: COMPREPLY of these words, the last one being typed.
complete_words() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  COMP_POINT=${#COMP_LINE}
  COMPREPLY=()
  _lowmem_train lowmem-train "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" || true
}
# typed LINE: the replies, sorted, a blank between them.
typed() {
  local words=() word piece
  COMP_LINE="lowmem-train $1"
  for word in lowmem-train $1; do # no word of these tests holds a blank
    if [[ $COMP_WORDBREAKS == *=* ]]; then
      while [[ $word == *=* ]]; do
        piece=${word%%=*}
        [ -z "$piece" ] || words+=("$piece")
        words+=("=")
        word=${word#*=}
      done
      [ -n "$word" ] && words+=("$word")
    else
      words+=("$word")
    fi
  done
  [[ $1 != *' ' && -n $1 ]] || words+=("")
  complete_words "${words[@]}"
  printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
}
expect() { # expect LINE REPLIES
  local replies
  replies=$(typed "$1")
  [ "$replies" = "$2" ] || broken "lowmem-train $1: got '$replies' instead of '$2'"
}
offers() { # offers LINE REPLY...: these are among the replies
  local replies reply line=$1
  replies=" $(typed "$line") "
  shift
  for reply in "$@"; do
    [[ $replies == *" $reply "* ]] || broken "lowmem-train $line: '$reply' is not in '$replies'"
  done
}
lacks() {
  [[ " $(typed "$1") " != *" $2 "* ]] || broken "lowmem-train $1: '$2' is offered"
}

for breaks in $' \t\n"\'><=;|&(:' $' \t\n"\'><;|&('; do
  COMP_WORDBREAKS=$breaks
  key() { [[ $COMP_WORDBREAKS == *=* ]] || printf '%s=' "$1"; } # what replies begin with

  # Every command, and sections of keys.
  while read -r command; do
    offers "" "$command"
    offers "$command --" --help --quiet
  done < <("$train" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z]*\) .*/\1/p')
  offers "" plan report run. optimizer. memory.
  expect "re" "report"
  expect "r" "report run."
  expect "demo -" "--help --quiet --seed -h -q"
  lacks "plan " report
  lacks "run.seed=1 " report
  lacks "--config run.yaml --" --json

  # Every key, wherever keys may stand.
  for line in "" "plan " "evaluate --quiet " "data --show 3 " "--config run.yaml "; do
    offers "${line}optimizer." optimizer.name= optimizer.lr= optimizer.clip_mode=
  done
  while read -r name; do
    offers "$name" "$name="  # and what begins as it does
  done < <("$train" --help | sed -n 's/^  \([a-z]*\.[a-z0-9_]*\)=.*/\1/p')
  expect "demo optimizer." ""

  # Their words, whole or begun, and of options.
  name=$(key optimizer.name)
  expect "optimizer.name=" "${name}adafactor ${name}adam ${name}adamw ${name}sgd"
  expect "plan optimizer.name=ada" "${name}adafactor ${name}adam ${name}adamw"
  expect "run.seed=1 memory.force=t" "$(key memory.force)true"
  expect "optimizer.beta2=" "$(key optimizer.beta2)auto"
  expect "eval.every=e" "$(key eval.every)epoch"
  expect "run.seed=" ""
  expect "--optimizer s" "sgd"
  expect "--optimizer=s" "$(key --optimizer)sgd"
  expect "init --dtype " "bf16 fp32"
  expect "completion " "bash"
  expect "manual " "keys man"
  expect "nonsense=" ""
  expect "--lr " ""

  # Files: of --config, of texts and of lists, the last of them.
  expect "--config r" "run.yaml"
  expect "-c " "models run.yaml"
  expect "plan --config=r" "$(key --config)run.yaml"
  expect "model.path=mo" "$(key model.path)models"
  expect "data.train=models/a" "$(key data.train)models/a.jsonl"
  expect "data.train=models/a.jsonl,models/a" "$(key data.train)models/a.jsonl,models/a.jsonl"
  expect "report mod" "models"
  # An option's value is no command, nor is a second word.
  offers "--config plan " plan
  lacks "evaluate plan " demo
done

# A file name with a blank is one reply.
COMP_LINE='lowmem-train report models/two'
complete_words lowmem-train report models/two
[ "$(printf '%s|' "${COMPREPLY[@]}")" = "models/two words.jsonl|" ] ||
  broken "a file name with a blank was cut"
# A blank behind `=` begins another word.
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
COMP_LINE='lowmem-train data.train= '
complete_words lowmem-train data.train = ""
[[ " ${COMPREPLY[*]} " == *" run. "* ]] || broken "a blank behind = was passed over"
echo "completion_test: commands, options, keys, words and files were completed"

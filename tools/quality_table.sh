#!/bin/sh
# Writes the tables of docs/quality.md: the tiny model in every number of bits, rounded plainly and by
# our recipes, and with fewer experts a token. About ten minutes on two cores. Models and rows that are
# in WORK_DIR already are not made again.
#
# usage: tools/quality_table.sh FLASHMOE SOURCE WORK_DIR    SOURCE: the bf16 model; needs 250 MB
set -eu
flashmoe=$1 source=$2 work=$3
data=$(dirname "$0")/../models/tiny/eval
mkdir -p "$work/rows"
[ -f "$work/imatrix.safetensors" ] ||
  "$flashmoe" imatrix "$source" "$data/calibration.txt" --moments -o "$work/imatrix.safetensors"

# row NAME MODEL OPTION...: its lines of the table.
row() {
  model=$2 kept=$work/rows/$1
  shift 2
  if [ ! -s "$kept" ]; then
    "$flashmoe" eval "$model" "$@" --text "$data/text.txt" --tasks "$data/tasks.jsonl" --base "$source" --table > "$kept.part"
    mv "$kept.part" "$kept"
  fi
  [ -n "${headed:-}" ] || sed -n 1,2p "$kept"
  headed=yes
  sed -n '3,$p' "$kept"
}

row bf16 "$source"
for bits in 8 6 5 4 3 2; do
  for recipe in minmax even mixed; do
    [ $recipe = even ] && [ $bits -gt 3 ] && continue
    out=$work/$recipe-$bits
    imatrix=
    [ $recipe = minmax ] || imatrix="--imatrix $work/imatrix.safetensors"
    [ -d "$out" ] || "$flashmoe" quantize "$source" "$out" --bits $bits --recipe $recipe $imatrix
    row $recipe-$bits "$out"
  done
done
for model in bf16 mixed-4 mixed-2; do
  [ $model = bf16 ] && folder=$source || folder=$work/$model
  row $model-k "$folder" --sweep k=4,3,2,1
done

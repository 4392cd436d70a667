#!/bin/sh
# Writes the tables of docs/quality.md: the tiny model in every number of bits, rounded plainly and by
# our recipes, and with fewer experts a token. About ten minutes on two cores.
#
# usage: tools/quality_table.sh FLASHMOE SOURCE WORK_DIR    SOURCE: the bf16 model; needs 200 MB
set -eu
flashmoe=$1 source=$2 work=$3
data=$(dirname "$0")/../models/tiny/eval
mkdir -p "$work"
"$flashmoe" imatrix "$source" "$data/calibration.txt" --moments -o "$work/imatrix.safetensors"
models=$source
for bits in 8 6 5 4 3 2; do
  for recipe in minmax even mixed; do
    [ $recipe = even ] && [ $bits != 2 ] && continue
    out=$work/$recipe-$bits
    imatrix=
    [ $recipe = minmax ] || imatrix="--imatrix $work/imatrix.safetensors"
    [ -d "$out" ] || "$flashmoe" quantize "$source" "$out" --bits $bits --recipe $recipe $imatrix
    models="$models $out"
  done
done
judge="--text $data/text.txt --tasks $data/tasks.jsonl --base $source --table"
"$flashmoe" eval $models $judge
"$flashmoe" eval "$source" "$work/mixed-2" --sweep k=4,3,2,1 $judge

#!/bin/sh
# The floor of the Docker backend: the images of all steps for one day, one after the other, by hand.
#   bare_docker.sh FOLDER DAY VERSION
set -eu
folder=$1 day=$2 version=$3
data=$folder/data
mkdir -p "$data"

# step IMAGE STEP PARTITION [FURTHER FIELDS OF THE REQUEST]
step() {
  printf '{"contract": 1, "data_root": "%s", "request": {"step": "%s", "partitions": ["%s"], "params": {"source": "files"}, %s}}\n' \
    "$data" "$2" "$3" "${4:-"\"models\": {}"}" |
    docker run --interactive --rm --network none --user "$(id -u):$(id -g)" --volume "$data:$data" \
      "mlops-assets/$1:$version" >/dev/null
}

# model PARTITION PATH: the model that a step works with
model() {
  printf '"models": {"%s": {"path": "%s", "sha256": "%s"}}' "$1" "$2" "$(sha256sum "$data/$2" | cut -c1-64)"
}

step data register "$day"
step data process "$day"
step data split "$day"
step model train "$day"
step model evaluate "$day" "$(model "$day" "models/$day/model.skops")"
mkdir -p "$data/production/models/v1"
cp "$data/models/$day/model.skops" "$data/production/models/v1/"
step model score v1 "$(model v1 production/models/v1/model.skops), \"days\": {\"split\": [\"$day\"]}"
step data gate "$day" '"models": {}, "days": {"scores": ["v1"]}, "inputs": {"champion": null}'
step model predict "$day" "$(model "$day" production/models/v1/model.skops)"

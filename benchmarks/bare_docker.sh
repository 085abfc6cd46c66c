#!/bin/sh
# The floor of the Docker backend: the images of all steps for one day, one after the other, by hand.
#   bare_docker.sh FOLDER DAY VERSION
set -eu
folder=$1 day=$2 version=$3
mkdir -p "$folder/data" "$folder/.mlops"

step() {
  image=$1
  shift
  docker run --rm --network none --user "$(id -u):$(id -g)" \
    --volume "$folder/data:$folder/data" --volume "$folder/.mlops:$folder/.mlops" \
    --env MLOPS_DATA_DIR="$folder/data" --env MLOPS_HOME="$folder/.mlops" --env MLOPS_SOURCE=files \
    "mlops-assets/$image:$version" "$@" >/dev/null
}

step data register --partition "$day"
step data process --partition "$day"
step data split --partition "$day"
step train train --partition "$day"
step train evaluate --partition "$day"
step train promote
step predict predict --partition "$day"

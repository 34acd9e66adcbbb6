#!/bin/sh
# What is in the image. kubeflow/Dockerfile runs this; so does tests/kubeflow/test_image.py, where there is no Docker.
#
#   install.sh dependencies ENVIRONMENT cpu|gpu     all that the project stands on, as locked
#   install.sh project ENVIRONMENT                  the project; asks no package index
#
# ENVIRONMENT is a virtual environment. Two steps, because the first makes gigabytes and seldom changes. Needs uv.
set -eu

cd "$(dirname "$0")/.."

case "${1-} ${3-}" in
    "dependencies cpu") lock=requirements.lock ;;
    "dependencies gpu") lock=requirements-gpu.lock ;;
    "project ") lock= ;;
    *)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac

# Compiled to bytecode here: whoever runs the image cannot write into it, and would compile anew at every start.
if [ -n "$lock" ]; then
    uv pip install --quiet --python "$2" --compile-bytecode --no-deps --require-hashes --requirement "$lock"
else
    uv pip install --quiet --python "$2" --compile-bytecode --no-deps --no-index --no-build-isolation .
fi

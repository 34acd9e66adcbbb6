#!/bin/sh
# Installs what is in the image. kubeflow/Dockerfile runs this; so does tests/kubeflow/test_image.py, where there is no Docker.
#
#   install.sh dependencies ENVIRONMENT cpu|gpu     all packages of the lock; needs a C++ compiler and binutils
#   install.sh project ENVIRONMENT                  the project; asks no package index
#
# ENVIRONMENT is a virtual environment. These are two steps, because the first makes gigabytes and seldom changes. Needs uv.
#
# Secrets of the build, for a network with an authority or a package index of its own:
#   /run/secrets/ca       certificates of the authorities, PEM
#   /run/secrets/index    URL of the package index, with its password if it has one
set -eu

cd "$(dirname "$0")/.."

case "${1-} ${3-}" in
    "dependencies cpu") lock=requirements.lock ;;
    "dependencies gpu") lock=requirements-gpu.lock ;;
    "project ") lock= ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac

if [ -e /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi
if [ -e /run/secrets/index ]; then UV_DEFAULT_INDEX=$(cat /run/secrets/index) && export UV_DEFAULT_INDEX; fi

if [ -z "$lock" ]; then
    uv pip install --quiet --python "$2" --compile-bytecode --no-deps --no-index --no-build-isolation .
    exit
fi
# Copies, because strip would reach uv's cache through links.
UV_LINK_MODE=copy uv pip install --quiet --python "$2" --no-deps --require-hashes --requirement "$lock"

# A third of that is never used by a step, by a worker or by `genre`, and every machine of a cluster would have to pull it:
# headers and libclang, which are for building against libraries; what makes ONNX models smaller; the packages' own tests;
# completion for notebooks; clients of Google's other services; symbols for debuggers. Libraries in *.libs are patched ELF files,
# which strip would break.
site=$(echo "$2"/lib/python3.*/site-packages)
rm -rf "$site"/tensorflow/include "$site"/pyarrow/include "$site"/clang "$site"/jedi "$site"/tensorboard_data_server/bin
rm -rf "$site"/onnx/backend/test "$site"/onnxruntime/transformers "$site"/onnxruntime/quantization "$site"/onnxruntime/tools
for service in dlp kms monitoring recommendationengine spanner sqladmin videointelligence vision; do
    rm -rf "$site/google/cloud/$service"*
done
# Of Vertex AI's clients the plain one stays, aiplatform_v1.
rm -rf "$site"/google/cloud/aiplatform "$site"/google/cloud/aiplatform_v1beta1
rm -rf "$site"/google/genai "$site"/vertexai "$site"/agentplatform
find "$site" -depth -type d -name tests -not -path '*/tensorflow/*' -exec rm -rf {} +
find "$site"/apache_beam "$site"/tfx "$site"/tensorflow_* -name '*_test.py' -delete
find "$site" -type f -name '*.so*' -not -path '*.libs/*' -exec strip --strip-unneeded {} +

# Compiled to bytecode here: nobody who runs the image can write into it, so Python would compile anew at every start.
"$2"/bin/python -m compileall -q -j 0 -x /kubernetes/ "$site"

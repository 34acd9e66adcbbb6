"""The container image: its files, its install steps, a step in what they make, and a build where buildah is."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker.utils.build import exclude_paths
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "kubeflow" / "Dockerfile"
PACKAGES = {"components", "genre", "models", "pipeline"}
LOCKS = {"requirements.lock", "requirements-gpu.lock", "requirements-dev.lock"}
INSTALLED_FROM = LOCKS | {
    *("LICENSE", "README.md", "pyproject.toml", "setup.py"),
    *("kubeflow/entrypoint.sh", "kubeflow/install.sh"),
}
UNREACHABLE = re.compile(
    r"error sending request|dns error|client error \(Connect\)|timed out|network (was )?disabled", re.I
)


COMPILED = {"pyfarmhash"}
"""Locked packages that are compiled when the image is built. For one more, see that `g++` is enough for it."""
WITHOUT_WHEEL = COMPILED | {"google-apitools", "kfp-server-api", "rouge-score"}
"""Locked packages that have no wheel for Linux on x86-64. All but `COMPILED` are pure Python."""
LARGEST = 2.6e9
"""Most bytes that the environment may have: every machine of a cluster pulls it."""

USER = (1000, 1000)
"""User and group of the image."""
BUILD_GB = 25
"""What a build of the Dockerfile writes, in GB, without cached layers."""


def build_context(root: Path) -> set[str]:
    """The files that `docker build` is given: Docker's own rules on our .dockerignore."""
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    found = exclude_paths(str(root), [line for line in patterns if line and not line.startswith("#")])
    return {path for path in found if (root / path).is_file()} - {".dockerignore"}


def tracked(*folders: str) -> set[str]:
    """Files of the repository, as they are now."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *folders]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return {path for path in listed.split("\0") if path and (ROOT / path).is_file()}


def locked(name: str, lock: str = "requirements.lock") -> str:
    """Version of a package."""
    return re.search(rf"^{re.escape(name)}==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)[1]


def arguments() -> dict[str, str]:
    """Build arguments of the Dockerfile that have a default."""
    return dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE))


def test_the_dockerfile_is_linted() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    # Among its rules: no build argument and no variable that looks like a secret (DL3064).
    command = [hadolint, "--no-color", "--failure-threshold", "style", DOCKERFILE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_images_it_stands_on_are_of_the_locked_versions() -> None:
    code = (ROOT / "setup.py").read_text()
    python = re.search(r'python_requires=">=(3\.\d+),', code)[1]
    assert arguments()["BEAM_IMAGE"] == f"apache/beam_python{python}_sdk:{locked('apache-beam')}"
    assert re.fullmatch(rf"python:{re.escape(python)}(\.\d+)?-slim-\w+", arguments()["PYTHON_IMAGE"])


def test_whoever_runs_it_is_not_root_and_cannot_be_mistaken_for_it() -> None:
    final = DOCKERFILE.read_text().split("\nFROM ")[-1]
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["1000:1000"]
    assert not re.search(r"^(RUN|COPY)", final.split("\nUSER ")[1], re.MULTILINE)


def test_the_build_is_given_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    for path in tracked():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    for junk in (".env", ".git/config", ".venv/bin/python", "workspace/models/1/saved_model.pb", "id_rsa", "key.json"):
        (tmp_path / junk).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / junk).touch()
    for junk in (".env", ".netrc", "__pycache__/audio.cpython-311.pyc"):
        (tmp_path / "components" / junk).parent.mkdir(exist_ok=True)
        (tmp_path / "components" / junk).touch()
    assert build_context(tmp_path) == INSTALLED_FROM | tracked(*PACKAGES)


def test_secrets_of_the_build_are_where_the_install_steps_look_for_them() -> None:
    dockerfile, script = DOCKERFILE.read_text(), (ROOT / "kubeflow" / "install.sh").read_text()
    secrets = set(re.findall(r"--mount=type=secret,id=(\w+)", dockerfile))
    assert secrets == {"ca", "index"}
    for text in (dockerfile, script):
        assert set(re.findall(r"/run/secrets/(\w+)", text)) == secrets
    # The last stage, which asks no index, has none, so none can be left in the image.
    assert "secret" not in dockerfile.split("\nFROM ")[-1]


def test_only_the_stage_that_builds_has_a_compiler() -> None:
    stages = dict(
        zip(("head", "beam", "uv", "environment", "final"), DOCKERFILE.read_text().split("\nFROM "), strict=True)
    )
    assert [name for name, stage in stages.items() if "g++" in stage] == ["environment"]


def uv(*arguments: object, path: str = os.defpath) -> "subprocess.CompletedProcess[str]":
    """Runs the uv that is beside Python, with nothing but `path` to find programs on."""
    command = [Path(sys.executable).with_name("uv"), *arguments]
    done = subprocess.run(
        [str(word) for word in command], env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip()[-300:]}")
    return done


def programs(directory: Path, *names: str) -> str:
    """A PATH with some programs of this machine, and no compiler."""
    directory.mkdir()
    for name in names:
        (directory / name).symlink_to(shutil.which(name, path=f"{Path(sys.executable).parent}:{os.defpath}"))
    return str(directory)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-gpu.lock"])
def test_every_locked_package_without_a_wheel_is_known(lock: str, tmp_path: Path) -> None:
    lines = re.findall(r"^[\w.-]+==[^\s\\]+(?: ; .*[^\s\\])?", (ROOT / lock).read_text(), re.MULTILINE)
    wanted, found = {canonicalize_name(line.split("==")[0]): line for line in lines}, set()
    file = tmp_path / "requirements.txt"
    install = ("pip", "install", "--dry-run", "--no-deps", "--no-build", "--target", tmp_path / "none")
    while True:
        file.write_text("\n".join(wanted.values()))
        done = uv(
            *install, "--python", sys.executable, "--python-platform", "x86_64-manylinux_2_28", "--requirement", file
        )
        if done.returncode == 0:
            break
        # It names one at a time.
        named = re.search(r"Because ([\w.-]+)==\S+ has no usable wheels", done.stderr)
        assert named, done.stderr
        found.add(canonicalize_name(named[1]))
        del wanted[canonicalize_name(named[1])]
    assert found == WITHOUT_WHEEL


@pytest.mark.parametrize("name", sorted(WITHOUT_WHEEL))
def test_one_locked_package_needs_a_compiler(name: str, tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", "sh")
    install = ("pip", "install", "--no-cache", "--no-deps", "--python", sys.executable, "--target", tmp_path / "target")
    done = uv(*install, f"{name}=={locked(name)}", path=path)
    assert (done.returncode != 0) == (name in COMPILED), done.stderr
    assert done.returncode == 0 or "No such file or directory: 'g++'" in done.stderr, done.stderr


CONFINE = """
set -eu
IFS=:
for disk in $DISKS; do mount --bind "$disk" "$disk"; done
unset IFS
for point in / /tmp; do if mountpoint -q "$point"; then mount -o remount,bind,ro "$point"; fi; done
PATH=$INSIDE exec "$@"
"""
"""Makes every file system read-only but $DISKS, paths with colons between them, for a command with the path $INSIDE."""


@functools.cache
def confined() -> tuple[str, ...]:
    """Words before a command that cannot write outside $DISKS and has no network; none where that cannot be had."""
    unshare = shutil.which("unshare")
    ways = [(unshare, "--mount", "--net"), (unshare, "--map-root-user", "--mount", "--net")] if unshare else []
    ways = [(*way, "/bin/sh", "-c", CONFINE, "sh") for way in ways]
    variables = {"PATH": os.environ["PATH"], "INSIDE": "", "DISKS": tempfile.gettempdir()}
    return next((way for way in ways if subprocess.run([*way, "/bin/true"], env=variables).returncode == 0), ())


@dataclass(frozen=True)
class Image:
    """What the image would hold, in a directory."""

    environment: Path
    home: Path

    def start(self, *command: object, disk: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Starts a command as the image would: through its entry point, with nothing else on the path.

        It may write into `disk` and into the home, which stands for /tmp, and nowhere else.
        """
        inside = str(self.environment / "bin")
        variables = {"HOME": str(self.home), "TMPDIR": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"}
        if confined():
            disks = [self.home, *([disk] if disk else [])]
            variables |= {"PATH": os.defpath, "INSIDE": inside, "DISKS": ":".join(map(str, disks))}
        else:
            variables |= {"PATH": inside}
            variables |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
        words = [*confined(), "/bin/sh", ROOT / "kubeflow" / "entrypoint.sh", *command]
        return subprocess.run(
            [str(word) for word in words], env=variables, cwd=self.home, capture_output=True, text=True, timeout=300
        )

    def run(self, *command: object, disk: Path | None = None) -> str:
        """What a command writes to standard output, once it is clear that it succeeded."""
        done = self.start(*command, disk=disk)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def files(self) -> set[Path]:
        """Everything in the environment."""
        return set(self.environment.rglob("*"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The install steps of the Dockerfile on the files that it is given, into a directory of their own."""
    root = tmp_path_factory.mktemp("image")
    source, environment = root / "source", root / "environment"
    for path in build_context(ROOT):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path)
    (source / "components" / "credentials.json").write_text("somebody left it there")
    (root / "home").mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # uv is beside Python
    for step in (("dependencies", environment, "cpu"), ("project", environment)):
        if step[0] == "project":  # the last stage has no compiler
            variables |= {"PATH": programs(root / "bin", "dirname", "sh", "uv")}
        command = [source / "kubeflow" / "install.sh", *step]
        done = subprocess.run(command, env=variables, cwd=root, capture_output=True, text=True)
        if done.returncode and step[0] == "dependencies" and UNREACHABLE.search(done.stderr):
            pytest.skip(f"the locked packages are neither in uv's cache nor to be had: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    yield Image(environment, root / "home")
    shutil.rmtree(environment)  # gigabytes, which pytest would keep for its next three runs


@pytest.mark.long
def test_it_holds_what_is_locked_and_the_project_and_nothing_else(image: Image) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    installed = {canonicalize_name(name) for name in json.loads(image.run("python", "-c", code))}
    lines = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert installed == {canonicalize_name(name) for name in lines} | {"genre-pipeline"}
    names = {path.name for path in (image.environment / "bin").iterdir()}
    assert {"python", "genre"} <= names
    assert not {"pip", "pip3", "uv", "uvx", "pytest", "ruff", "hadolint"} & names
    found = image.run(
        "python", "-c", "from importlib.util import find_spec as f; print(f('pip'), f('pytest'), f('ruff'), f('uv'))"
    )
    assert found == "None None None None\n"


@pytest.mark.long
def test_it_has_nothing_that_only_builds_or_tests_need_and_is_small(image: Image) -> None:
    (packages,) = image.environment.glob("lib/python3.*/site-packages")
    for gone in ("tensorflow/include", "clang", "jedi"):
        assert not (packages / gone).exists()
    assert not list((packages / "apache_beam").rglob("*_test.py"))
    assert not [path for path in packages.glob("*/tests") if path.is_dir()]
    size = sum(path.lstat().st_size for path in image.files())
    assert size < LARGEST, f"{size / 1e9:.2f} GB"


@pytest.mark.long
def test_it_holds_every_file_of_our_packages(image: Image) -> None:
    (packages,) = image.environment.glob("lib/python3.*/site-packages")
    found = {str(path.relative_to(packages)) for name in PACKAGES for path in (packages / name).rglob("*.*")}
    assert {path for path in found if "__pycache__" not in path} == tracked(*PACKAGES)
    assert {path for path in found if path.endswith(".pyc")}, "compiled, as nobody may write there later"


def run_a_step(run: Callable[..., str], compose: Callable[..., Path], tmp_path: Path) -> None:
    """Ingests songs, compiles a pipeline and runs its first step, by commands that may write into `tmp_path`."""
    config, volume = tmp_path / "kubeflow.yaml", tmp_path / "volume"
    target = {
        "data": str(volume / "data"),
        "workspace": str(volume),
        "kubeflow": {"image": "genre:1", "volumes": [{"claim": "genre", "path": str(volume)}]},
    }
    config.write_text(yaml.safe_dump(yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text()) | target))
    tracks = compose(tmp_path / "songs", {"train": 2, "eval": 2, "test": 2})
    places = ("--audio-root", tmp_path / "songs", "--split-column", "split", "--data", volume / "data")
    if os.getuid() == 0:
        for path in (tmp_path, *tmp_path.rglob("*")):
            os.chown(path, *USER)
    run("genre", "ingest", "csv", tracks, *places, "--config", config)
    run("genre", "compile", "--target", "kubeflow", "--config", config, "-o", tmp_path / "pipeline.yaml")

    pipeline = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    container = pipeline["deploymentSpec"]["executors"]["Planner_executor"]["container"]
    given = pipeline["root"]["dag"]["tasks"]["Planner"]["inputs"]["parameters"]
    values = {name: source["runtimeValue"]["constant"] for name, source in given.items() if "runtimeValue" in source}
    outputs = pipeline["components"]["Planner"]["outputDefinitions"]
    task = {
        "inputs": {"parameterValues": values | {"data": str(volume / "data"), "span": "last", "settings": ""}},
        "outputs": {
            "artifacts": {
                name: {"artifacts": [{"name": name, "uri": str(tmp_path / name), "type": what["artifactType"]}]}
                for name, what in outputs["artifacts"].items()
            },
            "parameters": {name: {"outputFile": str(tmp_path / f"{name}.txt")} for name in outputs["parameters"]},
            "outputFile": str(tmp_path / "output_metadata.json"),
        },
    }
    words = [word.replace("{{$}}", json.dumps(task)) for word in container["command"] + container["args"]]
    run(*words)
    told = json.loads((tmp_path / "output_metadata.json").read_text())["parameterValues"]
    assert set(told) == set(outputs["parameters"])
    assert json.loads(told["slot_0"])["clips"]["splits"]["train"] == [str(volume / "data" / "span-1" / "train")]


@pytest.mark.long
def test_a_step_runs_in_it_without_pip_network_or_checkout(
    image: Image, compose: Callable[..., Path], tmp_path: Path
) -> None:
    before = image.files()
    run_a_step(functools.partial(image.run, disk=tmp_path), compose, tmp_path)
    assert image.files() == before, "its user may not write there"


@pytest.mark.long
def test_only_tmp_need_be_writable(image: Image) -> None:
    if not confined():
        pytest.skip("no file system can be made read-only here: unshare --mount is missing or refused")
    refused = image.start("python", "-c", f"open('{image.environment}/file', 'w')")
    assert "Read-only file system" in refused.stderr
    assert "Usage: genre" in image.run("genre", "--help")
    image.run("genre", "doctor", "--workspace", image.home / "workspace")
    image.run(
        "python",
        "-c",
        "import librosa, matplotlib.pyplot, tensorflow; librosa.feature.mfcc(y=librosa.tone(440, length=9000))",
    )


@pytest.mark.long
def test_beam_s_boot_is_started_by_options_alone_and_finds_beam(image: Image) -> None:
    done = image.start("--id=1", "--provision_endpoint=localhost:1")
    assert done.returncode == 127 and "/opt/apache/beam/boot" in done.stderr
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in DOCKERFILE.read_text()
    (link,) = re.findall(r"^RUN (ln -s .*)$", DOCKERFILE.read_text(), re.MULTILINE)
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", link.replace("/opt/genre", str(image.environment))], env=variables, check=True)
    assert f"Version: {locked('apache-beam')}" in image.run("python", "-m", "pip", "show", "apache-beam")


def buildable() -> str:
    """Why the real Dockerfile is not built here, or nothing."""
    missing = [name for name in ("buildah", "debootstrap", "go") if not shutil.which(name)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.getuid() != 0:
        return "debootstrap needs root"
    free = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    return "" if free > BUILD_GB else f"it writes {BUILD_GB} GB, but {free:.0f} GB are free in {tempfile.gettempdir()}"


def call(*command: object, **variables: str) -> str:
    """Runs a command that must succeed; returns what it writes."""
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def buildah() -> Iterator[tuple[object, ...]]:
    """The words before each command of buildah, whose storage is a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="genre-buildah-") as root:
        # vfs: needs nothing of the kernel.
        yield ("buildah", "--storage-driver", "vfs", "--root", f"{root}/storage", "--runroot", f"{root}/run")


def debian(buildah: tuple[object, ...], root: Path) -> str:
    """Makes a stand-in for python:3.11-slim-bookworm, where no registry can be reached; returns its name."""
    packages = "python3.11,python3-pip,python3-venv,libpython3.11-dev,ca-certificates"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root], capture_output=True, text=True
    )
    if "Failed getting release file" in made.stdout + made.stderr:
        pytest.skip("Debian's packages cannot be reached")
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    (root / "usr" / "bin" / "python").symlink_to("python3.11")
    (root / "usr" / "lib" / "python3.11" / "EXTERNALLY-MANAGED").unlink()
    return image_of(buildah, root, "localhost/python:3.11")


def image_of(buildah: tuple[object, ...], root: Path, name: str) -> str:
    """Makes an image of a folder; returns its name."""
    container = call(*buildah, "from", "scratch").strip()
    call(*buildah, "add", "--quiet", container, root, "/")
    call(*buildah, "commit", "--quiet", "--rm", container, name)
    shutil.rmtree(root)
    return name


@dataclass(frozen=True)
class Pod:
    """A container of the built image as a strict cluster runs it: not as root, and nothing to write into but /tmp."""

    root: Path
    config: dict[str, Any]
    """Of the image."""

    def run(self, *command: object, disk: Path | None = None) -> str:
        """What a command writes, once it is clear that it succeeded; it sees the folder `disk` at the same place."""
        script = f"""
            set -eu
            mount --bind {self.root} {self.root}
            mount -o remount,bind,ro {self.root}
            mount -t tmpfs tmpfs {self.root}/tmp && chmod 1777 {self.root}/tmp
            mount -t proc proc {self.root}/proc
            mount --rbind /dev {self.root}/dev
            if [ -n "{disk or ""}" ]; then
                mkdir -p {self.root}{disk} && mount --bind {disk} {self.root}{disk}
            fi
            exec chroot --userspec={USER[0]}:{USER[1]} {self.root} "$@"
        """
        entry = ["env", "--ignore-environment", *self.config["Env"], *self.config["Entrypoint"]]
        return call("unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", *entry, *command)


@pytest.mark.long
@pytest.mark.skipif(bool(buildable()), reason=buildable())
def test_the_dockerfile_builds_and_its_image_runs(
    buildah: tuple[object, ...], compose: Callable[..., Path], tmp_path: Path
) -> None:
    base = debian(buildah, tmp_path / "debian")
    boot = tmp_path / "beam" / "opt" / "apache" / "beam"
    boot.mkdir(parents=True)
    module = f"github.com/apache/beam/sdks/v2/python/container@v{locked('apache-beam')}"
    call("go", "install", module, GOBIN=str(tmp_path / "go"), CGO_ENABLED="0")
    shutil.move(tmp_path / "go" / "container", boot / "boot")
    beam = image_of(buildah, tmp_path / "beam", "localhost/beam:boot")

    authorities = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    call(
        *(*buildah, "bud", "--isolation", "chroot", "--network", "host", "--pull-never"),
        "--layers=false",  # with vfs every cached layer is a copy of all before it: 45 GB
        *("--secret", f"id=ca,src={authorities}"),
        *("--build-arg", f"PYTHON_IMAGE={base}", "--build-arg", f"BEAM_IMAGE={beam}"),
        *("--file", DOCKERFILE, "--tag", "localhost/genre:test", ROOT),
    )
    container = call(*buildah, "from", "--pull-never", "localhost/genre:test").strip()
    pod = Pod(
        Path(call(*buildah, "mount", container).strip()),
        json.loads(call(*buildah, "inspect", container))["OCIv1"]["config"],
    )
    assert pod.config["User"] == f"{USER[0]}:{USER[1]}"
    assert "Usage: genre" in pod.run("genre", "--help")
    assert (
        pod.run("sh", "-c", "touch /opt/genre/x /home/x /var/tmp/x 2>&1 || id -un").count("Read-only file system") == 3
    )
    pod.run("genre", "doctor", "--workspace", "/tmp/w")
    (tmp_path / "volume").mkdir()
    run_a_step(functools.partial(pod.run, disk=tmp_path / "volume"), compose, tmp_path / "volume")
    assert pod.run("sh", "-c", "command -v gcc g++ cc c++ strip ld || true") == ""
    # With options alone, Beam's boot starts: as a pool of workers, until it is stopped.
    pool = pod.run("sh", "-c", "timeout 60 /opt/genre/bin/entrypoint.sh --worker_pool 2>&1 || true")
    assert "Starting worker pool" in pool and "apache_beam.runners.worker.worker_pool_main" in pool
    assert int(pod.run("du", "-sb", "/opt/genre").split()[0]) < LARGEST

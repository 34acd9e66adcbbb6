"""The doctor finds this installation sound, and says what is wrong where something is."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from functools import partial
from pathlib import Path

import pytest
import soundfile

from pipeline import doctor
from pipeline.doctor import Check, Finding, checks, examine

NAMES = [check.name for check in checks(Path("workspace"))]


def genre_doctor(tmp_path: Path, *options: str) -> subprocess.CompletedProcess:
    """The command, as a user without cloud credentials gives it."""
    environment = {key: value for key, value in os.environ.items() if key != "GOOGLE_APPLICATION_CREDENTIALS"}
    environment |= {"CLOUDSDK_CONFIG": str(tmp_path / "none"), "TMPDIR": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("genre")), "doctor", *options]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)


def test_this_installation_is_sound(tmp_path: Path) -> None:
    process = genre_doctor(tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    lines = process.stdout.splitlines()
    assert [line[9 : 9 + 17].strip() for line in lines if line[:9].strip()] == NAMES
    assert "FAIL" not in process.stdout
    assert process.stderr == ""
    sound = " ".join(line for line in lines if line.startswith("ok "))
    assert "as locked" in sound
    assert "WAV, FLAC, Ogg Vorbis, MP3, AIFF" in sound
    assert "none (only needed for Vertex AI)" in sound
    assert "ran a pipeline of 4 nodes" in sound
    assert not any(tmp_path.iterdir()), "it leaves nothing behind"


@pytest.mark.long
def test_a_failure_has_exit_code_1_and_does_not_stop_the_other_checks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = genre_doctor(tmp_path, "--workspace", "file")
    assert process.returncode == 1
    assert "FAIL     workspace         file cannot be written: Not a directory\n" in process.stdout
    assert "Choose another with --workspace" in process.stdout
    assert "ran a pipeline of 4 nodes" in process.stdout
    (log,) = tmp_path.glob("*.log")
    assert process.stderr == f"genre: 1 of the checks failed. Log of the libraries: {log}\n"


def test_versions_are_compared_with_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    text = doctor.LOCK.read_text()
    lock.write_text(text)
    assert doctor.package_versions(lock).status == "ok"

    lock.write_text(text.replace("\ntfx==1.21.0 ", "\ntfx==1.20.1 ") + "\nno-such-package==2.0 \\\n")
    finding = doctor.package_versions(lock)
    assert finding.status == "FAIL"
    assert finding.found == "tfx 1.21.0 (locked: 1.20.1), no-such-package missing (locked: 2.0)"
    assert "requirements.lock" in finding.advice

    lock.write_text("".join(f"missing-{number}==1\n" for number in range(8)))
    assert doctor.package_versions(lock).found.endswith("missing-4 missing (locked: 1) and 3 more")

    assert doctor.package_versions(tmp_path / "none").status == "warning"


def test_an_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.python_version().status == "ok"
    monkeypatch.setattr(platform, "python_version", lambda: "3.12.1")
    assert doctor.python_version().status == "FAIL"


def test_a_workspace_is_tried_where_it_would_be_made(tmp_path: Path) -> None:
    there = doctor.writable(tmp_path)
    assert there == Finding("ok", f"{tmp_path} can be written")
    assert doctor.writable(tmp_path / "a" / "b").found.endswith("can be created")
    assert not any(tmp_path.iterdir())


def test_a_workspace_where_nobody_can_write_is_refused() -> None:
    finding = doctor.writable(Path("/proc/workspace"))
    assert finding.status == "FAIL"
    assert finding.found.startswith("/proc/workspace cannot be written: ")
    assert "--workspace" in finding.advice


@pytest.mark.parametrize(("free", "status"), [(0.9e9, "FAIL"), (1e9, "warning"), (4.9e9, "warning"), (5e9, "ok")])
def test_little_disk_is_told(free: float, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("Usage", "free")(free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    finding = doctor.free_disk(Path("workspace"))
    assert finding.status == status
    assert finding.found == f"{free / 1e9:.1f} GB free for workspace"
    assert bool(finding.advice) == (status != "ok")


@pytest.mark.parametrize(("lost", "status"), [("MPEG_LAYER_III", "FAIL"), ("OPUS", "ok")])
def test_a_codec_that_is_missing_is_named(lost: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write = soundfile.write

    def without(*args: object, subtype: str, **options: object) -> None:
        if subtype == lost:
            raise ValueError(f"Unknown subtype: {subtype!r}")
        write(*args, subtype=subtype, **options)

    monkeypatch.setattr(soundfile, "write", without)
    finding = doctor.audio_codecs()
    assert finding.status == status
    if status == "ok":
        assert finding.found == "WAV, FLAC, Ogg Vorbis, MP3, AIFF; not Opus"
    else:
        assert finding.found == "MP3: Unknown subtype: 'MPEG_LAYER_III'"


def test_a_codec_that_decodes_to_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    write = soundfile.write
    monkeypatch.setattr(soundfile, "write", lambda file, data, *args, **kw: write(file, data / 2, *args, **kw))
    finding = doctor.audio_codecs()
    assert finding.status == "FAIL"
    assert "WAV: a tone of -9.0 dBFS comes back with -15.1" in finding.found


def test_cloud_credentials_are_those_that_google_would_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    assert doctor.cloud_credentials() == Finding("ok", "none (only needed for Vertex AI)")

    login = tmp_path / "application_default_credentials.json"
    login.write_text(json.dumps({"type": "authorized_user"}))
    assert doctor.cloud_credentials() == Finding("ok", f"authorized_user in {login}")

    key = tmp_path / "key.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    missing = doctor.cloud_credentials()
    assert (missing.status, missing.found) == ("warning", f"{key}: No such file or directory")
    key.write_text("{}")
    assert doctor.cloud_credentials().found == f"{key} does not hold credentials"
    key.write_text(json.dumps({"type": "service_account"}))
    assert doctor.cloud_credentials().found == f"service_account in {key}"


def test_a_check_that_breaks_or_crashes_is_a_finding() -> None:
    todo = (
        Check("breaks", partial(int, "x")),
        Check("breaks apart", partial(int, "y"), apart=True),
        Check("crashes", os.abort, apart=True),
        Check("comes after", doctor.python_version, apart=True),
        Check("is well", doctor.python_version),
    )
    breaks, breaks_apart, crashes, after, well = (finding for _, finding in examine(todo))
    assert breaks.found == "ValueError: invalid literal for int() with base 10: 'x'"
    assert breaks_apart.found == "ValueError: invalid literal for int() with base 10: 'y'"
    assert crashes.found == after.found == "its process died with exit code -6"
    assert {finding.status for finding in (breaks, breaks_apart, crashes, after)} == {"FAIL"}
    assert all(finding.advice for finding in (breaks, breaks_apart, crashes, after))
    assert well.status == "ok"


def test_a_check_that_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 0.1)
    start = time.monotonic()
    ((_, finding),) = examine((Check("hangs", partial(time.sleep, 600), apart=True),))
    assert finding.found == "no answer within 0.1 s"
    assert time.monotonic() - start < 300  # it was not waited for

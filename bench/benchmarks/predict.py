"""`genre predict`: the time until the model is loaded, and for each song; and the same model without TensorFlow."""

import json
import sys
from functools import partial
from pathlib import Path

from bench.harness.music import songs
from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, in_new_process, interleave, spread, walls

_COUNTING = """
import json, pathlib, sys
from pipeline.cli import main
out = pathlib.Path(sys.argv.pop(1))
try:
    main()
finally:
    out.write_text(json.dumps(sum(name.split(".")[0] == "tfx" for name in sys.modules)))
"""
"""A script that runs `genre`, and then counts the imported modules of TFX."""
_GENRE = "from pipeline.cli import main; main()"
_LOADING = "import genre, sys; genre.load(sys.argv[1]).predict(sys.argv[2])"
"""A script that names the genre of one song."""


def measure(setting: Setting) -> Measured:
    """Times whole processes with one song and with all; the difference is the time for the songs."""
    table = setting.library()
    files = songs(table)
    with setting.workplace() as work:
        setting.ingest(table, work / "data")
        setting.run(work / "data", work / "workspace", "train.epochs=1")

        def predict(count: int) -> Sample:
            out = work / "modules.json"
            words = ("-c", _COUNTING, out, "predict", *files[:count], "--workspace", work / "workspace")
            sample = in_new_process([sys.executable, *map(str, words)], work / "predict.log")
            return sample.model_copy(update={"figures": {"tfx": json.loads(Path(out).read_text(encoding="utf-8"))}})

        exported = work / "genre.onnx"
        export = (
            "export",
            "--format",
            "onnx",
            "-o",
            exported,
            "--workspace",
            work / "workspace",
            "--data",
            work / "data",
        )
        in_new_process([sys.executable, "-c", _GENRE, *map(str, export)], work / "export.log")

        def load(model: Path) -> Sample:
            return in_new_process([sys.executable, "-c", _LOADING, str(model), str(files[0])], work / "load.log")

        sides = {
            "one song": partial(predict, 1),
            f"{len(files)} songs": partial(predict, len(files)),
            "ONNX Runtime": partial(load, exported),
        }
        samples = interleave(sides, setting.repeats, setting.report)
    one, many, onnx = (walls(taken) for taken in samples.values())
    each = [(all_of_them - first) / (len(files) - 1) for first, all_of_them in zip(one, many, strict=True)]
    return Measured(
        samples,
        {
            "song": spread([1000 * seconds for seconds in each]),
            "onnx": spread(onnx),
            "load": spread([first - seconds for first, seconds in zip(one, each, strict=True)]),
            "tfx": spread([sample.figures["tfx"] for sample in samples["one song"]]),
        },
    )

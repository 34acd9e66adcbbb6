"""What a pushed model needs to answer; its answers are tested with a trained one, in test_end_to_end."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_no_tfx_is_loaded_to_predict() -> None:
    training = ["apache_beam", "librosa", "ml_metadata", "tensorflow_transform", "tfx", "tfx_bsl"]
    code = """if True:
        import sys
        import components.store.predictor
        print(*sorted({*sys.argv[1:], 'tensorflow'} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code, *training], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "tensorflow\n"

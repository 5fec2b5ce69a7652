"""A console whose reader has left, and what `--version` says there."""

import contextlib
import os
import subprocess
import sys
from importlib import metadata

import pytest

from layeratlas.stages.console import unbroken

CODE = "import sys; from layeratlas.stages.main import main; sys.argv = ['layeratlas', *{}]; sys.exit(main())"


def test_a_stream_whose_reader_has_left_goes_on_in_silence(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        os.close(reading)
        with unbroken():
            print("nobody reads this " * 1000)
            sys.stdout.flush()
            print("nor this", flush=True)
        assert sys.stdout is pipe


def test_what_is_printed_arrives_and_the_streams_are_put_back(capsys):
    before = sys.stdout, sys.stderr
    with contextlib.suppress(SystemExit), unbroken():
        print("said", sys.stdout.encoding)
        raise SystemExit
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == f"said {before[0].encoding}\n"


def test_the_version_is_that_of_the_installed_package_and_needs_no_torch():
    ask = f"{CODE.format(['--version']).removesuffix('sys.exit(main())')}main(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert run.stdout == f"layeratlas {metadata.version('layeratlas')}\nFalse\n"


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", " 2>&1"])
def test_help_into_a_pipe_that_closes_says_nothing_of_it(end, tmp_path):
    command = f'set -o pipefail; {sys.executable} -c "{CODE.format(["--help"])}"{end} | head -n 2'
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (run.returncode, run.stderr, len(run.stdout.splitlines())) == (0, "", 2)

"""The progress bar, on a terminal and elsewhere."""

import io
import sys

import pytest

from torchsep.cli.progress import Bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_a_bar_is_drawn_on_a_terminal_unless_it_shall_be_quiet(monkeypatch, capsys, quiet):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Bar("separating", total=4, quiet=quiet) as bar:
        bar.advance()
        bar.update(3, 4, "song.wav")
        bar.say("a.wav [1/2] is done")
    drawn = sys.stderr.getvalue()
    assert ("song.wav" in drawn) == ("75%" in drawn) == (not quiet)
    assert ("a.wav [1/2] is done" in drawn) == (not quiet)
    assert ("a.wav [1/2] is done" in capsys.readouterr().out) == quiet


def test_lines_are_plain_elsewhere(capsys):
    with Bar("separating", total=4) as bar:
        bar.advance()
        bar.update(3, 4)
        bar.say("done")
        bar.say("failed", is_error=True)
    assert capsys.readouterr() == ("done\n", "failed\n")

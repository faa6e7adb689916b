"""Recordings of songs with stems."""

from dataclasses import dataclass

from torchsep.data.recordings import Entry, Recordings

NAMES = ("bass", "drums", "voice")


@dataclass(eq=False)
class Songs(Recordings):
    """Folders a, b, c of three stems and a mixture."""

    def entries(self):
        for folder in sorted(path for path in self.folder().iterdir() if path.is_dir()):
            files = {name: (folder / f"{name}.wav",) for name in NAMES}
            yield Entry(folder.name, folder / "mixture.wav", files)

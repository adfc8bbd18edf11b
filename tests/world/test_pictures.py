"""A user's own pictures, as data in folders and as a trigger: every mode, depth, orientation and damage."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from simulator.errors import PluginError, SourceError
from simulator.scenario import catalog
from simulator.world.attacks.picture import Picture, _read
from simulator.world.pictures import flattened, open_picture
from simulator.world.sources.image_folder import ImageFolder


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "workspace"))
    return tmp_path / "workspace"


def save(path: Path, picture: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def plain(value: int, mode: str = "L", size: tuple[int, int] = (20, 10)) -> Image.Image:
    return Image.new("L", size, value).convert(mode)


def pets(root: Path, count: int = 5) -> None:
    for place, name in enumerate(("cat", "dog", "eel 10", "eel 9")):
        for number in range(count):
            save(root / name / f"{number}.png", plain(50 * place + number))


def test_folders_are_classes_and_a_share_of_each_is_for_testing(tmp_path: Path) -> None:
    pets(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "pets" / ".hidden").mkdir()
    data = ImageFolder(root=str(tmp_path / "pets"), size=8, channels=1).load()
    assert data.class_names == ("cat", "dog", "eel 9", "eel 10")
    assert (data.images.shape, data.test_images.shape) == ((16, 1, 8, 8), (4, 1, 8, 8))
    assert data.test_labels.tolist() == [0, 1, 2, 3]
    value = {0: 0, 1: 50, 2: 150, 3: 100}
    for images, labels in ((data.images, data.labels), (data.test_images, data.test_labels)):
        for image, label in zip(images, labels.tolist(), strict=True):
            assert 0 <= int(image.max()) - value[label] < 5
            assert int(image.min()) == int(image.max())


def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    pets(tmp_path / "train", count=2)
    save(tmp_path / "val" / "dog" / "a.jpg", plain(200))
    data = ImageFolder(root=str(tmp_path), size=(8, 9)).load()
    assert (data.images.shape, data.test_images.shape) == ((8, 3, 8, 9), (1, 3, 8, 9))
    assert data.test_labels.tolist() == [1]


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pets(tmp_path / "pets")
    first = ImageFolder(root=str(tmp_path / "pets")).load()
    monkeypatch.setattr("simulator.world.sources.image_folder.open_picture", None)  # whoever calls it fails
    assert ImageFolder(root=str(tmp_path / "pets")).load().digest == first.digest
    save(tmp_path / "pets" / "cat" / "0.png", plain(99))
    with pytest.raises(TypeError):
        ImageFolder(root=str(tmp_path / "pets")).load()


def test_every_mode_gives_the_same_grey(tmp_path: Path) -> None:
    for mode in ("L", "RGB", "RGBA", "LA", "P", "CMYK", "1"):
        value = 255 if mode == "1" else 204
        path = save(tmp_path / f"{mode}.tif", plain(value, mode))
        found = flattened(open_picture(path), 3, 255)
        assert np.abs(found.astype(int) - value).max() <= 2, mode
    deep = Image.fromarray(np.full((10, 20), 204 * 256 + 99, np.uint16))
    assert flattened(open_picture(save(tmp_path / "deep.png", deep)), 1, 0).max() == 204
    assert flattened(open_picture(save(tmp_path / "wide.tif", Image.new("I", (9, 9), 204 * 256))), 1, 0).max() == 204


def test_transparent_parts_show_the_background(tmp_path: Path) -> None:
    half = Image.new("RGBA", (10, 10), (255, 0, 0, 255))
    half.paste((0, 255, 0, 0), (0, 0, 5, 10))
    found = flattened(open_picture(save(tmp_path / "half.png", half)), 3, 77)
    assert found[5, 2].tolist() == [77, 77, 77]
    assert found[5, 7].tolist() == [255, 0, 0]


def test_pictures_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    picture = plain(0, size=(20, 10))
    picture.paste(255, (0, 0, 10, 10))  # the left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the left of the file is the top of the scene
    found = flattened(open_picture(save(tmp_path / "turned.png", picture, exif=exif)), 1, 0)
    assert found.shape == (20, 10, 1)
    assert (found[2, 5, 0], found[17, 5, 0]) == (255, 0)


@pytest.mark.parametrize(("fit", "white"), [("crop", 0), ("stretch", 1)])
def test_a_wide_picture_is_cropped_or_stretched(tmp_path: Path, fit: Any, white: int) -> None:
    for name in ("a", "b"):
        for number in range(5):
            picture = plain(0, size=(64, 16))
            picture.paste(255, (0, 0, 8, 16))  # white at the left end, outside the middle square
            save(tmp_path / "wide" / name / f"{number}.png", picture)
    data = ImageFolder(root=str(tmp_path / "wide"), size=16, channels=1, fit=fit).load()
    assert bool(data.images.max() == 255) == bool(white)


def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    pets(tmp_path / "pets")
    torn = (tmp_path / "pets" / "cat" / "0.png").read_bytes()[:40]
    for number in range(5):
        (tmp_path / "pets" / "dog" / f"torn{number}.png").write_bytes(torn)
    (tmp_path / "pets" / "cat" / "text.jpg").write_text("no picture")
    with pytest.raises(
        SourceError, match=r"got '.*text.jpg' \(it is no picture\), '.*torn0.png' \(.*and 3 more; replace"
    ):
        ImageFolder(root=str(tmp_path / "pets")).load()


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        ((), "to hold a folder of pictures for each class, got none; make them"),
        (("cat",), r"'.*cat' to hold pictures \(.*\), got none; add some"),
    ],
)
def test_folders_without_pictures_raise(tmp_path: Path, folders: tuple[str, ...], sentence: str) -> None:
    (tmp_path / "pets").mkdir()
    for name in folders:
        (tmp_path / "pets" / name).mkdir()
    with pytest.raises(SourceError, match=sentence):
        ImageFolder(root=str(tmp_path / "pets")).load()
    with pytest.raises(SourceError, match=r"to be a folder of pictures, got no such folder; correct source\.root"):
        ImageFolder(root=str(tmp_path / "absent")).load()


def test_pictures_that_take_much_memory_or_are_no_files_are_named(tmp_path: Path) -> None:
    pets(tmp_path / "pets")
    Image.new("1", (8000, 3126)).save(tmp_path / "pets" / "cat" / "vast.png")  # a few kilobytes
    os.mkfifo(tmp_path / "pets" / "dog" / "pipe.png")
    with pytest.raises(
        SourceError,
        match=r"vast.png' \(8000 x 3126 pixels, more than 25 million\), .*pipe.png' \(it is no regular file\); replace",
    ):
        ImageFolder(root=str(tmp_path / "pets")).load()
    with pytest.raises(ValueError, match="8000 x 3126 pixels, more than 25 million; give a readable one"):
        Picture(image=str(tmp_path / "pets" / "cat" / "vast.png"))


@pytest.mark.skipif(
    sys.platform != "linux", reason="Linux tells a process its peak of memory, and forgets it when asked"
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_the_largest_picture_takes_about_300_megabytes_as_a_trigger(tmp_path: Path, mode: str) -> None:
    colour: Any = {"RGB": (9, 8, 7), "RGBA": (9, 8, 7, 6), "I;16": 40_000}[mode]
    path = save(tmp_path / "large.png", Image.new(mode, (6250, 4000), colour), compress_level=1)
    Picture(image=str(save(tmp_path / "small.png", plain(1))))  # imports what it needs
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    Picture(image=str(path))
    assert memory("VmHWM") - before < 360


def memory(of: str) -> float:
    """Return what the system says of this process's memory, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{of}:"))) / 1024


@pytest.mark.parametrize("size", [(50, 300), (300, 50), (7, 500), (3, 129)])
def test_a_picture_made_smaller_in_bands_is_that_made_smaller_whole(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    path = save(tmp_path / "noise.png", Image.fromarray(values))
    share = 9 / max(size)
    small = [max(1, round(side * share)) for side in size]
    weighed = values.astype(np.float32) / 255
    weighed[..., :3] *= weighed[..., 3:]
    layers = [Image.fromarray(weighed[..., k]).resize((small[0], small[1]), Image.Resampling.BOX) for k in range(4)]
    whole = np.stack([np.asarray(layer) for layer in layers])
    whole[:3] /= np.maximum(whole[3:], np.float32(1e-6))
    assert torch.equal(_read(str(path), 9), torch.from_numpy(whole).clamp(0, 1))
    monkeypatch.setattr("simulator.world.attacks.picture._AT_ONCE", 1000)
    np.testing.assert_allclose(_read(str(path), 9).numpy(), whole.clip(0, 1), atol=1e-6)


def test_a_class_whose_name_is_no_utf8_raises(tmp_path: Path) -> None:
    pets(tmp_path / "pets")
    other = tmp_path / "pets" / os.fsdecode(b"caf\xe9")
    try:
        (tmp_path / "pets" / "dog").rename(other)
    except OSError:
        pytest.skip("this file system stores names in UTF-8 only")
    with pytest.raises(SourceError, match=r"to have a name in UTF-8, got b'caf\\xe9' in '.*pets'; rename it"):
        ImageFolder(root=str(tmp_path / "pets")).load()


def sticker(path: Path) -> str:
    """A picture twice as wide as high: its left half opaque red, its right half green, a quarter opaque."""
    picture = Image.new("RGBA", (8, 4), (255, 0, 0, 255))
    picture.paste((0, 255, 0, 64), (4, 0, 8, 4))
    return str(save(path, picture))


def test_a_picture_is_blended_by_its_opacity(tmp_path: Path) -> None:
    attack: Picture = catalog.build(
        "attacks", "picture", {"image": sticker(tmp_path / "a.png"), "size": 4, "target": 1}
    )
    before = torch.full((2, 3, 10, 10), 0.5)
    after = attack.stamp(before)
    changed = (after != before).any(1)[0].nonzero()
    assert changed.min(0).values.tolist() == [8, 6]
    assert changed.max(0).values.tolist() == [9, 9]
    assert after[0, :, 8, 6].tolist() == [1.0, 0.0, 0.0]
    shown = 64 / 255
    assert after[0, :, 9, 9].tolist() == pytest.approx(
        [0.5 * (1 - shown), 0.5 * (1 - shown) + shown, 0.5 * (1 - shown)]
    )
    half = attack.stamp(before, 0.5)
    assert half[0, :, 8, 6].tolist() == [0.75, 0.25, 0.25]
    assert torch.equal(attack.stamp(before, 0.0), before)
    grey = attack.stamp(torch.zeros(1, 1, 10, 10))
    assert float(grey[0, 0, 8, 6]) == pytest.approx(0.299)


def test_transparent_colours_do_not_bleed(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (4, 4), (0, 255, 0, 0))  # green where nothing is seen
    picture.paste((255, 0, 0, 255), (0, 0, 2, 4))
    path = save(tmp_path / "b.png", picture)
    stamped = Picture(image=str(path), size=1).stamp(torch.zeros(1, 3, 8, 8))
    assert stamped[0, :, 7, 7].tolist() == pytest.approx([0.5, 0.0, 0.0], abs=0.01)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"image": "absent.png"},
            "attack 'picture': expected a picture in 'absent.png', got no such file; correct image",
        ),
        ({"image": __file__}, "got it is no picture; give a readable one"),
        ({"size": 0}, "expected size to be at least 1, got 0"),
    ],
)
def test_what_is_no_trigger_raises(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        catalog.build("attacks", "picture", options)


def test_an_invisible_picture_raises(tmp_path: Path) -> None:
    path = save(tmp_path / "c.png", Image.new("RGBA", (4, 4), (255, 0, 0, 0)))
    with pytest.raises(ValueError, match="to show something, got all of it transparent"):
        Picture(image=str(path))
    with pytest.raises(ValueError, match="expected the picture to lie inside images of 8 x 8 pixels, got 9 x 9"):
        Picture(size=9).check_fits((1, 8, 8), 10)

import importlib
import io
import os
import pickle
import tarfile
from typing import ClassVar

import datasets
import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("sklearn")

from PIL import Image

from discrete_diffusion.datasets import cifar10, digits, image_folder
from discrete_diffusion.datasets.cifar10 import CLASSES
from discrete_diffusion.datasets.cifar10_pickle import read_pickle
from discrete_diffusion.datasets.image_folder import quantize

NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def batch(i: int, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) and labels."""
    rng = np.random.default_rng(i)
    return rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, n)


class Python2(pickle._Pickler):
    """Writes bytes as Python 2 did its strings, which is what the published files hold."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, one):
        self.write(pickle.BINSTRING + len(one).to_bytes(4, "little", signed=True) + one)

    dispatch[bytes] = save_bytes


def python2(value) -> bytes:
    file = io.BytesIO()
    Python2(file, protocol=2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def contents(kind: str) -> dict[str, bytes]:
    made = {}
    for i, name in enumerate(NAMES):
        images, labels = batch(i)
        flat = images.reshape(len(images), -1)
        if kind == "bin":
            made[f"{name}.bin"] = np.concatenate([labels[:, None].astype(np.uint8), flat], axis=1).tobytes()
        else:
            content = {"data": flat, "labels": labels.tolist(), "batch_label": "batch", "filenames": ["a.png"]}
            made[name] = python2(content) if kind == "py" else pickle.dumps(content, protocol=4)
    return made


def write(folder, files: dict[str, bytes]):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    rows, known = digits(), load_digits()
    assert len(rows) == 1797
    assert rows["pixels"][:] == known.data.astype(int).tolist()
    assert rows["digit"][:] == [str(digit) for digit in known.target]
    assert rows.features["pixels"].feature.dtype == "uint8"
    assert {level for row in rows["pixels"] for level in row} == set(range(17))


@pytest.mark.parametrize("kind", ["bin", "py", "py4"])
def test_cifar10_from_each_form_of_its_files(tmp_path, kind):
    inner = f"cifar-10-batches-{kind[:3].rstrip('4')}"
    folder = write(tmp_path / "data" / inner, contents(kind))
    archive = tmp_path / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, inner)
    expected = np.concatenate([batch(i)[0] for i in range(5)])
    for path in (folder, folder.parent, archive):
        parts = cifar10(path)
        assert {name: len(part) for name, part in parts.items()} == {"train": 20, "validation": 4}
        pixels = np.array(parts["train"]["pixels"][:]).reshape(20, 32, 32, 3)
        assert (pixels == expected.transpose(0, 2, 3, 1)).all()
        assert parts["validation"]["class"][:] == [CLASSES[label] for label in batch(5)[1]]


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_wants_to_run_something_is_refused_before_it_does(tmp_path):
    harm = tmp_path / "harm"
    for content in (pickle.dumps({"data": Malicious(harm), "labels": [0]}), b"cos\nsystem\n(S'mkdir harm'\ntR."):
        with pytest.raises(ValueError, match=r"no pickled batch of CIFAR-10: it asks for (posix|os)\.(mkdir|system)"):
            read_pickle(content)
    files = contents("py") | {"data_batch_3": pickle.dumps(Malicious(harm))}
    with pytest.raises(
        ValueError, match=r"data_batch_3 of .* cannot be read: no pickled batch .* asks for posix.mkdir"
    ):
        cifar10(write(tmp_path / "data", files))
    assert not harm.exists()
    for content in (b"", b"junk", pickle.dumps([1]), pickle.dumps({"data": [1], "labels": [0]})):
        with pytest.raises(ValueError, match="no pickled batch of CIFAR-10"):
            read_pickle(content)


def test_wrong_files_of_cifar10(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected cifar-10-binary\.tar\.gz, .* does not exist"):
        cifar10(tmp_path / "none")
    files = contents("bin")
    short = write(tmp_path / "short", {name: files[name] for name in list(files)[:-1]})
    with pytest.raises(ValueError, match=r"short has no test_batch\.bin"):
        cifar10(short)
    cut = write(tmp_path / "cut", files | {"test_batch.bin": files["test_batch.bin"][:-1]})
    with pytest.raises(ValueError, match=r"test_batch\.bin of .*cut cannot be read"):
        cifar10(cut)
    label = write(tmp_path / "label", files | {"test_batch.bin": b"\x0a" + files["test_batch.bin"][1:]})
    with pytest.raises(ValueError, match="expected labels from 0 to 9"):
        cifar10(label)
    (tmp_path / "text.tar.gz").write_text("no archive")
    with pytest.raises(ValueError, match=r"text\.tar\.gz cannot be read"):
        cifar10(tmp_path / "text.tar.gz")


def test_cifar10_from_the_hub(monkeypatch):
    images, labels = batch(0)
    rows = datasets.Dataset.from_dict(
        {"img": [Image.fromarray(one) for one in images.transpose(0, 2, 3, 1)], "label": labels},
        features=datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")}),
    )
    parts = datasets.DatasetDict(train=rows, test=rows.select([2]))
    monkeypatch.setattr(datasets, "load_dataset", {"uoft-cs/cifar10": parts}.__getitem__)
    read = cifar10()
    assert (np.array(read["train"]["pixels"][:]).reshape(4, 32, 32, 3) == images.transpose(0, 2, 3, 1)).all()
    assert read["validation"]["class"][:] == [CLASSES[labels[2]]]

    def offline(name):
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(ConnectionError, match=r"^`uoft-cs/cifar10` cannot .* \(no route\): pass [^\n]* as `path`\.$"):
        cifar10()


def test_a_folder_of_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    for name, one in zip(("cat", "dog"), pixels, strict=True):
        (tmp_path / name).mkdir()
        Image.fromarray(one).save(tmp_path / name / "1.png")
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    rows = image_folder(tmp_path, 4, 6)
    assert (np.array(rows["pixels"][:]).reshape(pixels.shape) == pixels).all()
    assert rows["class"][:] == ["cat", "dog"]
    gray = image_folder(tmp_path, 2, 2, channels=1, levels=2)
    assert [len(row) for row in gray["pixels"]] == [4, 4]
    assert {level for row in gray["pixels"] for level in row} <= {0, 1}


def test_levels_divide_the_values_evenly():
    values = np.arange(256, dtype=np.uint8)
    assert (quantize(values, 256) == values).all()
    for levels in (2, 16, 17):
        counts = np.bincount(quantize(values, levels))
        assert len(counts) == levels
        assert counts.max() - counts.min() <= 1


def test_wrong_folders_of_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a folder of folders of images"):
        image_folder(tmp_path / "none", 4, 4)
    with pytest.raises(ValueError, match=r"Expected images .*/CLASS/\*\.png"):
        image_folder(tmp_path, 4, 4)
    with pytest.raises(ValueError, match="`channels` 1 or 3"):
        image_folder(tmp_path, 4, 4, channels=2)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_text("no image")
    with pytest.raises(ValueError, match=r"1\.png cannot be read"):
        image_folder(tmp_path, 4, 4)


@pytest.mark.parametrize(("module", "missing"), [("digits", "sklearn"), ("image_folder", "PIL")])
def test_a_missing_extra_is_named(monkeypatch, tmp_path, module, missing):
    file = importlib.import_module(f"discrete_diffusion.datasets.{module}")
    found = file.importlib.util.find_spec
    monkeypatch.setattr(file.importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(ImportError, match=r"install `discrete-diffusion-datasets\[images\]`"):
        digits() if module == "digits" else image_folder(tmp_path, 4, 4)

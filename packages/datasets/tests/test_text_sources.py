"""Text from files, from the hub, and embedded."""

import gzip
import json
import pydoc_data.topics
import zipfile
from collections import Counter

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from discrete_diffusion.datasets import RandomCrop, sequence_data
from discrete_diffusion.datasets.amazon_polarity import amazon_polarity
from discrete_diffusion.datasets.detokenizer import lm1b_detokenized
from discrete_diffusion.datasets.layouts import Padded, Wrapped
from discrete_diffusion.datasets.letter_tokenizer import text8_tokenizer
from discrete_diffusion.datasets.lm1b import FOLDERS, lm1b
from discrete_diffusion.datasets.openwebtext import openwebtext
from discrete_diffusion.datasets.prose import normalized, prose
from discrete_diffusion.datasets.review_grammar import SENTIMENT
from discrete_diffusion.datasets.reviews import review_polarity, reviews, sentences
from discrete_diffusion.datasets.text8 import text8
from discrete_diffusion.datasets.word_tokenizer import word_tokenizer

ALPHABET = "abcdefghijklmnopqrstuvwxyz "


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def offline(monkeypatch):
    def load(name, **options):
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", load)


@pytest.mark.parametrize("source", [text8, lm1b, amazon_polarity, openwebtext])
def test_without_the_hub_one_line_says_what_to_do(offline, source):
    with pytest.raises(ConnectionError, match=r"^`\w+/\w+` cannot be read .* \(no route\): pass [^\n]* as `path`\.$"):
        source()


@pytest.mark.parametrize("source", [text8, lm1b, amazon_polarity, openwebtext])
def test_a_file_that_is_not_there(tmp_path, source):
    with pytest.raises(FileNotFoundError, match="Expected "):
        source(tmp_path / "none.txt")


def test_text8_is_cut_without_overlap_and_split_by_position(tmp_path):
    text = "".join(ALPHABET[i * i % 27] for i in range(100))
    parts = text8(write_text8(tmp_path / "text8", text), chunk=7, sizes=(60, 20, 20))
    assert list(parts) == ["train", "validation", "test"]
    assert parts["train"]["text"][:] == [text[i : i + 7] for i in range(0, 56, 7)]
    assert parts["validation"]["text"][:] == [text[60:67], text[67:74]]
    assert parts["test"]["text"][:] == [text[80:87], text[87:94]]


@pytest.mark.parametrize("name", ["text8.zip", "text8", "head.txt", "head.txt.gz"])
def test_text8_in_every_format_and_in_proportion(tmp_path, name):
    text = ALPHABET * 40
    parts = text8(write_text8(tmp_path / name, text), chunk=9)
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 108, "validation": 6, "test": 6}
    assert parts["validation"]["text"][0] == text[972:981]


def test_every_window_of_the_training_text_can_be_cropped_from_one_row(tmp_path):
    text = "".join(ALPHABET[i * i % 27] for i in range(300))
    parts = text8(write_text8(tmp_path / "text8", text), chunk=8, sizes=(200, 50, 50), crops=True)
    rows = parts["train"]["text"][:]
    assert {len(row) for row in rows} == {15}
    windows = [row[i : i + 8] for row in rows for i in range(8)]
    assert windows == [text[i : i + 8] for i in range(192 - 192 % 8)][: len(windows)]
    assert len(windows) >= 184
    assert {len(row) for row in parts["validation"]["text"]} == {8}
    data = sequence_data(
        parts, "text", tokenizer=text8_tokenizer(), length=8, layout=Padded(special_tokens=False), augment=RandomCrop
    )
    batch = data.train["input_ids"][:]
    cropped = data.augment(batch, torch.Generator().manual_seed(0))
    assert {data.tokenizer.decode(row) for row in cropped} <= set(windows)


def test_what_is_no_text8_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"Expected a-z and spaces alone in .*, got 'B' at 1"):
        text8(write_text8(tmp_path / "text", "aB" * 100))
    with pytest.raises(ValueError, match=r"train, 90 of 100 characters, has 256 at least"):
        text8(write_text8(tmp_path / "text", "a" * 100))
    with pytest.raises(ValueError, match="Expected `chunk` >= 1, got 0"):
        text8(tmp_path / "text", chunk=0)
    with pytest.raises(ValueError, match="Expected three `sizes`"):
        text8(tmp_path / "text", sizes=(1, 2))
    for name in ("bad.zip", "bad.gz"):
        (tmp_path / name).write_text("nonsense")
        with pytest.raises(ValueError, match=f"{name} cannot be read as text8"):
            text8(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("enwik8", "a")
    with pytest.raises(ValueError, match="Expected a member 'text8'"):
        text8(tmp_path / "other.zip")
    hub = {part: {"text": [text]} for part, text in (("test", "c" * 5), ("train", "a" * 90), ("validation", "b" * 5))}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: hub)
    assert text8(chunk=5)["validation"]["text"][:] == ["bbbbb"]


def write_text8(path, text):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("text8", text)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text + "\n")
    return path


def test_prose_is_written_as_text8_is():
    assert normalized("It's 42,\n\n a Test—é!") == "it s four two a test "
    parts = prose()
    assert {len(row) for rows in parts.values() for row in rows["text"]} == {256}
    assert set("".join(parts["train"]["text"])) == set(ALPHABET)
    assert not any("  " in row for rows in parts.values() for row in rows["text"])
    assert len(parts["train"]) > 800
    assert len(parts["validation"]) == len(parts["test"]) > 40
    common = Counter(" ".join(parts["train"]["text"]).split()).most_common(12)
    assert {"the", "is", "a", "of", "to"} <= {word for word, _ in common}
    assert {len(row) for row in prose(chunk=64, crops=True)["train"]["text"]} == {127}


def test_prose_says_nothing_twice_that_topics_share(monkeypatch):
    shared = "a shared paragraph of some length "
    monkeypatch.setattr(pydoc_data.topics, "topics", {"b": f"{shared}\n\nmore of b", "a": f"first of a\n\n{shared}\n"})
    parts = prose(chunk=2)
    text = "".join(row for part in ("train", "validation", "test") for row in parts[part]["text"])
    assert text.startswith("first of a a shared paragraph of some length ")
    assert text.count("shared") == 1


def test_words_predict_the_class_of_a_review():
    rows = reviews(2000)
    texts, polarities = rows["text"][:], rows["polarity"][:]
    assert len(set(texts)) == 2000
    assert Counter(polarities) == {"negative": 1000, "positive": 1000}
    assert all(8 <= len(text.split()) <= 30 for text in texts)
    assert [review_polarity(text) for text in texts] == polarities
    assert reviews(500)["text"][:] == texts[:500]
    assert reviews(100, seed=1)["text"][:] != texts[:100]
    assert sentences(100).column_names == ["text"]
    assert sentences(100)["text"][:] == texts[:100]
    vocabulary = {word.strip(".,") for text in texts for word in text.split()}
    assert 200 < len(vocabulary) < 400
    # Hardly a word belongs to one class alone: negation turns most.
    for side in ("negative", "positive"):
        seen = {
            word.strip(".,")
            for text, one in zip(texts, polarities, strict=True)
            if one == side
            for word in text.split()
        }
        assert len(seen & set(SENTIMENT)) > 0.9 * len(SENTIMENT)
    with pytest.raises(ValueError, match="Expected `size` >= 1, got 0"):
        reviews(0)


@pytest.mark.parametrize(
    ("text", "polarity"),
    [
        ("The lid is good.", "positive"),
        ("the lid is not good.", "negative"),
        ("the lid is not very good", "negative"),
        ("it was not a waste of money", "positive"),
        ("i would never avoid it", "positive"),
        ("not really sure, but the lid is good", "positive"),
        ("although the lid is awful, the pan is sturdy and the knob is great.", "positive"),
        ("the lid is good and the pan is awful", None),
        ("i bought this pan", None),
        ("", None),
    ],
)
def test_polarities_by_hand(text, polarity):
    assert review_polarity(text) == polarity


def test_reviews_as_sequences():
    data = sequence_data(sentences(200), "text", tokenizer=word_tokenizer, length=64, layout=Wrapped())
    assert data.train["input_ids"][:].shape[1] == 64


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("It 's true , he said .", "It's true, he said."),
        ("Why ? Because ! Why ?", "Why? Because! Why?"),
        ('He said : " no way " ; then left .', 'He said: "no way"; then left.'),
        ("See http : / / a.b / c and https : / / d", "See http://a.b/c and https://d"),
        ("the ( old ) [ new ] ' one ' cost $ 5 or £ 4", "the (old) [new] 'one' cost $5 or £4"),
        ("A . B . C .", "A . B. C."),
        ("and / or", "and/or"),
    ],
)
def test_the_published_detokenizer_on_sentences(cut, whole):
    assert lm1b_detokenized(cut) == whole


def test_lm1b_from_lines(tmp_path):
    path = tmp_path / "news.txt"
    path.write_text("It 's fine .\n\n  \nYes .\n")
    assert lm1b(path)["text"][:] == ["It's fine.", "Yes ."]
    assert lm1b(path, detokenize=False)["text"][:] == ["It 's fine .", "Yes ."]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="Expected a sentence in a line of"):
        lm1b(tmp_path / "empty.txt")
    (tmp_path / "bad.gz").write_text("nonsense")
    with pytest.raises(ValueError, match=r"bad\.gz cannot be read as text"):
        lm1b(tmp_path / "bad.gz")


def test_lm1b_from_the_folder_of_the_benchmark(tmp_path, monkeypatch):
    train, validation = (tmp_path / "lm1b" / FOLDERS[part] for part in ("train", "validation"))
    train.mkdir(parents=True)
    validation.mkdir()
    (train / "news.en-00001-of-00100").write_text("first\nsecond\n")
    (train / "news.en-00002-of-00100.gz").write_bytes(gzip.compress(b"third\n"))
    (validation / "news.en.heldout-00000-of-00050").write_text("held out\n")
    parts = lm1b(tmp_path / "lm1b")
    assert parts["train"]["text"][:] == ["first", "second", "third"]
    assert parts["validation"]["text"][:] == ["held out"]
    assert lm1b(train)["text"][:] == ["first", "second", "third"]
    rows = {part: datasets.Dataset.from_dict({"text": [part + " 's ."]}) for part in ("train", "test")}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: rows)
    assert lm1b()["validation"]["text"][:] == ["test's ."]


REVIEWS = {
    "text": ['it is "good", yes', "bad\nNA", "NA"],
    "title": ["A title", "", "T"],
    "polarity": ["positive", "negative", "negative"],
}
ORIGINAL = '"2","A title","it is ""good"", yes"\n"1","","bad\nNA"\n"1","T","NA"\n'


def test_amazon_polarity_from_the_original_files(tmp_path):
    (tmp_path / "train.csv").write_text(ORIGINAL)
    (tmp_path / "test.csv").write_text('"1","x","y"\n"2","x","z"\n')
    (tmp_path / "reviews.csv.gz").write_bytes(gzip.compress(ORIGINAL.encode()))
    assert amazon_polarity(tmp_path / "train.csv")[:] == REVIEWS
    assert amazon_polarity(tmp_path / "reviews.csv.gz")[:] == REVIEWS
    parts = amazon_polarity(tmp_path)
    assert parts["train"][:] == REVIEWS
    assert parts["validation"]["polarity"][:] == ["negative", "positive"]


def test_amazon_polarity_as_the_hub_has_it(tmp_path, monkeypatch):
    labels = [int(one == "positive") for one in REVIEWS["polarity"]]
    hub = pa.table({"label": labels, "title": REVIEWS["title"], "content": REVIEWS["text"]})
    pa.parquet.write_table(hub, tmp_path / "train.parquet")
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in hub.to_pylist()))
    assert amazon_polarity(tmp_path / "train.parquet")[:] == REVIEWS
    assert amazon_polarity(tmp_path / "train.jsonl")[:] == REVIEWS
    rows = datasets.Dataset(datasets.table.InMemoryTable(hub))
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": rows, "test": rows.select([0])})
    parts = amazon_polarity()
    assert parts["train"][:] == REVIEWS
    assert parts["validation"]["polarity"][:] == ["positive"]


def test_other_reviews_are_refused(tmp_path):
    path = tmp_path / "reviews.csv"
    for content, message in {
        "label,title,content\n3,a,b\n": r"Expected the labels 0 and 1 in .*, got 3",
        "1,a,b\n3,a,b\n": r"Expected the labels 1 and 2 in .*, got 1, 3",
        "stars,content\n3,a\n": "Expected a column 'label', 'title'",
        "1,a\n": "reviews.csv cannot be read",
    }.items():
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            amazon_polarity(path)


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.jsonl.gz", "docs.txt", "docs.txt.gz", "docs.parquet"])
def test_documents_are_streamed(tmp_path, name):
    documents = ["one two", "three", "four"]
    lines = "\n".join(json.dumps({"text": one, "id": 1}) if "jsonl" in name else one for one in documents) + "\n"
    folder = tmp_path / "documents"
    folder.mkdir()
    path = folder / name
    if path.suffix == ".parquet":
        pa.parquet.write_table(pa.table({"text": documents, "id": [1, 2, 3]}), path)
    else:
        path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    for source in (path, folder):
        rows = openwebtext(source)
        assert isinstance(rows, datasets.IterableDataset)
        assert list(rows) == [{"text": one} for one in documents]


def test_documents_that_cannot_be_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content": "x"}\n')
    with pytest.raises(ValueError, match=r"Expected documents with a column 'text' in .*a.jsonl, got content"):
        openwebtext(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"b\.jsonl cannot be read: "):
        openwebtext(tmp_path / "b.jsonl")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("c.txt", "d.jsonl", ".e.csv"):
        (folder / name).write_text("x\n")
    with pytest.raises(ValueError, match=r"Expected files of one format, .*, got .jsonl, .txt\."):
        openwebtext(folder)
    with pytest.raises(ValueError, match=r"Expected files of one format, .*, got .csv\."):
        openwebtext(folder / ".e.csv")


def test_a_stream_is_packed_into_sequences(tmp_path):
    path = tmp_path / "docs.txt"
    path.write_text("".join(f"{text}\n" for text in sentences(60)["text"]))
    data = sequence_data(
        openwebtext(path),
        "text",
        tokenizer=word_tokenizer(sentences(60)["text"]),
        length=32,
        layout=Wrapped(),
        validation=10,
    )
    assert len(data.validation) > 3
    first = next(iter(data.train))
    assert first["input_ids"].shape == (32,)


def test_the_stream_of_the_hub(monkeypatch):
    rows = datasets.Dataset.from_dict({"text": ["a"], "url": ["b"]}).to_iterable_dataset()
    requests = []

    def load(name, **options):
        requests.append((name, options))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert list(openwebtext()) == [{"text": "a"}]
    assert requests == [("Skylion007/openwebtext", {"split": "train", "streaming": True})]

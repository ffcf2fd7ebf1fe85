import json
import multiprocessing

import pyarrow as pa
import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from discrete_diffusion.datasets import Padded, Wrapped, character_tokenizer, encoding
from discrete_diffusion.datasets.encoding import encode, tokenize

STRINGS = pa.chunked_array([["abc", "ca"], ["b" * 50]])
PADDED = Padded()
TOKENIZER = character_tokenizer(["abc"])


@pytest.fixture(autouse=True)
def _everything_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(encoding, "WORTH_KEEPING", 0)
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def ids(column, layout=PADDED, length=None, tokenizer=TOKENIZER):
    return encode(column, tokenizer, layout, length, allow_unknown=False)[0].to_pylist()


def test_what_is_read_back_is_what_was_made(tmp_path, monkeypatch):
    made = encode(STRINGS, TOKENIZER, Padded(longer="drop"), 5, allow_unknown=False)
    assert made[1].tolist() == [0, 1]
    assert len(files(tmp_path)) == 1
    monkeypatch.setattr(encoding, "_encoded", None)
    again = encode(STRINGS, TOKENIZER, Padded(longer="drop"), 5, allow_unknown=False)
    assert again[0].to_pylist() == made[0].to_pylist()
    assert again[1].tolist() == [0, 1]


def test_everything_that_changes_the_tokens_changes_the_fingerprint(tmp_path):
    more = character_tokenizer(["abcd"])
    for change in (
        {},
        {"column": pa.chunked_array([["abc", "cb"], ["b" * 50]])},
        {"column": pa.chunked_array([["abc", "ca"]])},
        {"layout": Padded(longer="truncate"), "length": 9},
        {"layout": Padded(longer="truncate"), "length": 10},
        {"layout": Padded(special_tokens=False)},
        {"layout": Wrapped(), "length": 10},
        {"tokenizer": more},
    ):
        before = len(files(tmp_path))
        ids(**{"column": STRINGS, **change})
        assert len(files(tmp_path)) == before + 1, change
    # how the same strings lie in memory changes nothing
    before = files(tmp_path)
    ids(pa.chunked_array([["x", "abc", "ca"]]).slice(1))
    ids(pa.chunked_array([["abc"], ["ca"]]))
    assert files(tmp_path) == before


def test_a_column_that_is_read_in_parts_is_encoded_as_a_whole(monkeypatch, tmp_path):
    whole = ids(STRINGS), ids(STRINGS, Wrapped(), 10)
    monkeypatch.setattr(encoding, "_AT_ONCE", 40)
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path / "other"))
    assert (ids(STRINGS), ids(STRINGS, Wrapped(), 10)) == whole


def test_a_damaged_file_is_made_again(tmp_path, caplog):
    expected = ids(STRINGS)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert ids(STRINGS) == expected
    assert "Encoding again" in caplog.text
    assert ids(STRINGS) == expected


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path / "file" / "folder"))
    assert len(ids(STRINGS)) == 3
    assert "is not kept" in caplog.text


def _encode_in_a_process(start, results):
    column = pa.chunked_array([["abcab" * 40] * 5000])
    start.wait()
    results.put(hash(str(ids(column))))


def test_processes_share_a_file_without_harm(tmp_path):
    # forked: a fresh interpreter would not have the fixture's settings
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    workers = [context.Process(target=_encode_in_a_process, args=(start, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    start.set()
    found = {results.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(found) == 1
    assert len(files(tmp_path)) == 1


def test_an_error_of_the_tokenizer_is_an_error_of_the_data():
    """The vocabulary lacks the token that the tokenizer names for unknown symbols."""
    state = json.loads(character_tokenizer(["CCO"]).backend_tokenizer.to_str())
    state["model"]["unk_token"] = "<nothing>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), unk_token="<unk>")
    with pytest.raises(ValueError, match=r"The tokenizer cannot read these strings: .*Missing"):
        tokenize(["CCZ"], tokenizer, Padded(), None)

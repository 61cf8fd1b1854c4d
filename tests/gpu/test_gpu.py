"""What only a GPU can show: half precision, a full memory, pinned copies, its own peak, sharding."""

import pytest
import torch
from small import bert, classification, finish, losses, start, weights
from test_loop import Watched, farthest

from ftkit import checkpoint, place
from ftkit.loop import updates
from ftkit.memory import forget_peak, peak_memory
from ftkit.strategies import Full

pytestmark = pytest.mark.gpu


def test_on_a_gpu_micro_batches_do_not_change_the_update():
    whole, parts = (start(micro_batch_size=n) for n in (None, 3))
    for run in (whole, parts):
        run.tuned.model.double()
        finish(run)
    assert whole.processes.device.type == "cuda"
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-6)
    assert farthest(weights(parts), weights(whole)) < 1e-6


def test_on_a_gpu_stopping_and_going_on_is_the_same_run():
    whole, cut = finish(start(bert(dropout=0.1))), start(bert(dropout=0.1))
    torch.cuda.manual_seed(5)
    for step in updates(cut):
        if step.step == 3:
            break
    assert losses(finish(cut)) == pytest.approx(losses(whole), abs=1e-5)
    assert farthest(weights(cut), weights(whole)) < 1e-4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_on_a_gpu_half_precision_stays_finite_and_close(precision):
    if precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU emulates bf16")
    exact, rough = finish(start(precision="fp32")), finish(start(precision=precision))
    assert weights(rough).isfinite().all()
    assert all(p.dtype == torch.float32 for p in rough.tuned.model.parameters())
    assert losses(rough) == pytest.approx(losses(exact), abs=0.05)


def test_on_a_gpu_a_batch_that_is_too_large_is_halved():
    def fill(task, model, batch):
        if len(batch["labels"]) > 4:
            torch.empty(2**45, device="cuda")

    assert finish(start(task=Watched(classification(), fill))).micro_batch_size == 4


def test_on_a_gpu_the_callers_random_numbers_are_untouched():
    run = start(bert(dropout=0.1))
    torch.cuda.manual_seed(7)
    expected = torch.rand(2, device="cuda")
    torch.cuda.manual_seed(7)
    found = torch.rand(1, device="cuda")
    finish(run)
    assert torch.equal(torch.cat([found, torch.rand(1, device="cuda")]), expected)


def test_an_update_larger_than_the_real_memory_is_that_of_its_parts():
    roomy = finish(start(bert(blocks=4), strategy=Full(), task=classification(256), batch_size=256, epochs=1))
    total = torch.cuda.get_device_properties(0).total_memory
    filler = torch.empty(
        int(0.97 * torch.cuda.mem_get_info()[0]) - 60_000_000, dtype=torch.uint8, device="cuda"
    )
    run = start(bert(blocks=4), strategy=Full(), task=classification(256), batch_size=256, epochs=1)
    finish(run)
    del filler
    torch.cuda.empty_cache()
    assert total > 0 and losses(run) == pytest.approx(losses(roomy), abs=1e-4)


def test_fp16_scales_the_loss_and_skips_an_overflow():
    if place.native_precision() == "fp32":
        pytest.skip("no half precision here")
    run = start(strategy=Full(), precision="fp16")
    run.scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)  # the first gradients overflow
    before = weights(run)
    next(updates(run))
    assert torch.equal(weights(run), before)
    finish(run)
    assert weights(run).isfinite().all() and not torch.equal(weights(run), before)


def test_the_peak_is_this_runs_own():
    large, small = start(bert(blocks=6), strategy=Full()), start(strategy=Full())
    forget_peak(large)
    finish(large)
    first = peak_memory(large)
    del large
    torch.cuda.empty_cache()
    forget_peak(small)
    finish(small)
    assert 0 < peak_memory(small) < first


def test_a_pinned_copy_is_the_batch():
    task = classification()
    batch = task.collate(task.train, "cpu")
    sent = place.send(batch, torch.device("cuda"))
    torch.cuda.synchronize()
    assert all(tensor.is_cuda and torch.equal(tensor.cpu(), batch[name]) for name, tensor in sent.items())


def test_a_run_is_resumed_on_a_gpu(tmp_path):
    whole, part = finish(start(strategy=Full())), start(strategy=Full())
    for step in updates(part):
        if step.step == 3:
            break
    place_of_it = checkpoint.save(part, tmp_path)
    again = start(strategy=Full())
    checkpoint.restore(again, place_of_it)
    assert losses(finish(again)) == pytest.approx(losses(whole), abs=1e-5)


def test_one_sharded_process_computes_what_a_whole_one_does():
    from ftkit.loop import Run

    whole = start(strategy=Full())
    sharded = Run(Full().apply(bert()), classification(), whole.config, sharded=True)
    assert losses(finish(sharded)) == pytest.approx(losses(finish(whole)), abs=1e-5)
    torch.distributed.destroy_process_group()

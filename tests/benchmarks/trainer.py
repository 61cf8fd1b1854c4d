"""Theirs: transformers' Trainer as a system, with PEFT for LoRA."""

from __future__ import annotations

import gc
import queue
import tempfile
import threading

import torch
from torch import nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ftkit.memory import counted
from ftkit.order import lengths
from ftkit.surgery import all_linear, freeze, head_names, look_up
from ftkit.tasks.language_modelling import LanguageModelling
from ftkit.tasks.task import UNKNOWN

from .systems import LR, System
from .timing import Turn, clock
from .workload import SHAPES, Workload, model, task


class WithLoss(nn.Module):
    """A classifier of ours as Trainer wants it: labels go in, a loss comes out."""

    accepts_loss_kwargs = False  # or Trainer takes the loss for divided already, and multiplies gradients

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier_model, self.config = classifier, classifier.config

    def forward(self, input_ids, attention_mask, labels=None):
        logits = self.classifier_model(input_ids=input_ids, attention_mask=attention_mask).logits
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Theirs:
    """transformers' Trainer, with PEFT for LoRA; it trains in a thread that waits between its turns."""

    def __init__(self, who: System, load: Workload):
        self.who, self.load = who, load
        self.task = task(load, SHAPES[who.shape])
        self.seen: list[int] = []  # tokens of every batch, in the order of training
        self.folder = tempfile.TemporaryDirectory(prefix="ftkit-benchmark-")
        self.trainer, self.pause = self.fresh(0)
        self.thread: threading.Thread | None = None

    def fresh(self, seed: int):
        """(Trainer, what makes it wait) for a training that has not begun."""
        who, load = self.who, self.load
        arguments = TrainingArguments(
            self.folder.name,  # nothing is saved there
            per_device_train_batch_size=load.batch_size,
            num_train_epochs=who.epochs or 1,
            learning_rate=LR,
            train_sampling_strategy="group_by_length" if who.grouped else "random",
            bf16=who.precision == "bf16",
            fp16=who.precision == "fp16",
            torch_compile=who.compiled,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            seed=seed,
            use_cpu=not torch.cuda.is_available(),
        )
        rows = [
            {"input_ids": e.ids.tolist(), "attention_mask": [1] * len(e), "number": i}
            for i, e in enumerate(self.task.train)
        ]
        pause = Pausing()
        trainer = Trainer(
            self.prepared(), arguments, train_dataset=rows, data_collator=self.collate, callbacks=[pause]
        )
        trainer.remove_callback(PrinterCallback)
        return trainer, pause

    def prepared(self) -> nn.Module:
        """The same model with the same parts trained, as its users would have it."""
        shape = SHAPES[self.who.shape]
        found = model(shape, self.task, dropout=self.who.dropout)
        if shape.family == "bert":
            if self.who.strategy == "head_only":
                output = look_up(found, head_names(found))
                freeze(found)
                for parameter in output:
                    parameter.requires_grad_(True)
            found = WithLoss(found)
        elif shape.family == "gpt2":
            found.loss_type = "ForCausalLM"  # without it Trainer reports another loss than the model's
        if self.who.strategy != "lora":
            return found
        from peft import LoraConfig, get_peft_model

        saved = ["classifier"] if shape.family == "bert" else None
        names = list(all_linear(found))
        return get_peft_model(
            found, LoraConfig(r=8, lora_alpha=16, target_modules=names, modules_to_save=saved)
        )

    def collate(self, rows: list[dict]) -> dict:
        """Padded to the longest, by our own collator, so that only order and loop differ."""
        examples = [self.task.train[row["number"]] for row in rows]
        self.seen.append(sum(map(len, examples)))
        batch = self.task.collate(examples, "cpu")
        return {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}

    def targets(self, batch: dict) -> torch.Tensor:
        """What the loss counts: a label a text, or the token after each."""
        return self.task.targets(batch) if isinstance(self.task, LanguageModelling) else batch["labels"]

    def first_loss(self) -> float:
        """What Trainer's own training step makes of the check batch, in two micro-batches, added up."""
        half = self.load.batch_size // 2
        parts = [self.task.train[:half], self.task.train[half : 2 * half]]
        batches = [self.task.collate(part, "cpu") for part in parts]
        terms = sum(int((self.targets(batch) != UNKNOWN).sum()) for batch in batches)
        self.trainer.current_gradient_accumulation_steps = 2
        kept = {m: m.p for m in self.trainer.model.modules() if isinstance(m, nn.Dropout)}
        for dropout in kept:
            dropout.p = 0.0
        losses = []
        for batch in batches:
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
            count = torch.tensor(terms, device=self.trainer.args.device)
            losses.append(
                self.trainer.training_step(self.trainer.model, inputs, num_items_in_batch=count).item()
            )
        self.trainer.model.zero_grad()
        for dropout, p in kept.items():
            dropout.p = p
        return sum(losses)

    def turn(self, number: int) -> Turn:
        """Some updates; with `epochs`, a whole training."""
        if self.who.epochs or self.thread is None:
            if self.who.epochs:
                self.trainer = self.thread = None
                gc.collect()
                self.trainer, self.pause = self.fresh(number)
            self.seen.clear()
            self.done = 0
            self.thread = threading.Thread(target=self.pause.train, args=(self.trainer,), daemon=True)
            self.thread.start()
        per_epoch = -(-self.load.examples // self.load.batch_size)
        count = per_epoch * self.who.epochs or self.load.updates
        seconds = self.pause.go_on(count)
        self.done += count
        return Turn(seconds, tuple(self.seen[self.done - count : self.done]))

    def memory(self) -> int:
        """Bytes of an update on the longest texts, counted as ftkit counts its own."""
        order = lengths(self.task.train).argsort(kind="stable")[-self.load.batch_size :]
        batch = self.task.collate([self.task.train[i] for i in order], self.trainer.args.device)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
        found = self.trainer.model.train()
        trained = [p for p in found.parameters() if p.requires_grad]
        return counted(found, trained, lambda: found(**inputs)["loss"])


class Pausing(TrainerCallback):
    """`train` runs in a thread; `go_on`, called from another, lets it do so many updates."""

    def __init__(self):
        self.permits: queue.Queue[int] = queue.Queue()
        self.answers: queue.Queue[float | BaseException] = queue.Queue()
        self.left, self.began = 0, 0.0

    def train(self, trainer: Trainer) -> None:
        """The whole training; what goes wrong is handed to whoever waits."""
        try:
            trainer.train()
            self.answers.put(RuntimeError("expected more updates to do, found the training at its end"))
        except BaseException as error:
            self.answers.put(error)

    def go_on(self, count: int) -> float:
        """The seconds that the next `count` updates took."""
        self.permits.put(count)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def on_step_begin(self, args, state, control, **rest):
        if self.left == 0:
            self.left = self.permits.get()
            self.began = clock()

    def on_step_end(self, args, state, control, **rest):
        self.left -= 1
        if self.left == 0:
            self.answers.put(clock() - self.began)

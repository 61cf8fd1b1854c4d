"""A toy of two towers: texts of letters and their capitals are to meet. Its loss is of the whole batch."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import distributed
from torch.nn.functional import cross_entropy
from toys import LETTERS, tokenizer
from transformers import BertConfig, BertModel

from ftkit.heads import TwoTowers
from ftkit.tasks.task import batched, in_order, mean_loss, pad, tensors
from ftkit.tasks.translation import Pair


@dataclass(frozen=True)
class Contrastive:
    """Which second text belongs to which first one, among those of the batch, and the other way round."""

    train: list
    validation: list
    test: list
    auto_class = TwoTowers
    divisible = False

    def collate(self, examples, device):
        arrays = {}
        for side, rows in (
            ("first", [e.ids for e in examples]),
            ("second", [e.target_ids for e in examples]),
        ):
            ids, mask = pad(rows, 0)
            arrays |= {f"{side}_ids": ids, f"{side}_attention_mask": mask}
        return tensors(arrays, device)

    def vectors(self, model, batch):
        """(batch, width) of either side, of length 1, and what their products are multiplied by."""
        sides = (
            {"input_ids": batch[f"{side}_ids"], "attention_mask": batch[f"{side}_attention_mask"]}
            for side in ("first", "second")
        )
        return model(*sides)

    def loss(self, model, batch):
        first, second, scale = self.vectors(model, batch)
        several = model.training and distributed.is_initialized() and distributed.get_world_size() > 1
        everyone = [gathered(x) if several else x for x in (first, second)]
        own = torch.arange(len(first)) + (sum(sizes(first)[: distributed.get_rank()]) if several else 0)
        total = cross_entropy(scale * first @ everyone[1].T, own, reduction="sum")
        total = total + cross_entropy(scale * second @ everyone[0].T, own, reduction="sum")
        return total / 2, torch.tensor(len(first))

    def predict(self, model, examples):
        def compute(batch):
            return list(zip(*(x.cpu() for x in self.vectors(model, batch)[:2]), strict=True))

        return in_order(batched(self, model, examples, compute), count=len(examples))

    def score(self, model, examples):
        grades = self.grades(model, examples)
        return {"loss": mean_loss(self, model, examples), "recall": sum(grades) / len(grades)}

    def grades(self, model, examples):
        first, second = (torch.stack(side) for side in zip(*self.predict(model, examples), strict=True))
        nearest = (first @ second.T).argmax(1)
        return [float(nearest[i] == i) for i in range(len(examples))]


def sizes(own):
    """How many rows each process has."""
    counts = [torch.zeros(1, dtype=torch.long) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([len(own)]))
    return [int(count) for count in counts]


def gathered(own):
    """The rows of all processes; gradients flow back to each."""
    from torch.distributed.nn.functional import all_gather

    counts = sizes(own)
    padded = torch.cat([own, own.new_zeros(max(counts) - len(own), own.shape[1])])
    return torch.cat([rows[:n] for rows, n in zip(all_gather(padded), counts, strict=True)])


def contrastive(n: int = 37) -> Contrastive:
    """Texts of four letters and the same ones shifted by one."""
    draw, tokens, number, splits = random.Random(0), tokenizer(), 0, {}
    for name, size in (("train", n), ("validation", 12), ("test", 12)):
        splits[name] = []
        for _ in range(size):
            source = draw.choices(LETTERS, k=4)
            target = [LETTERS[(LETTERS.index(letter) + 1) % 26] for letter in source]
            ids = [tokens([" ".join(side)], return_tensors="np")["input_ids"][0] for side in (source, target)]
            splits[name].append(Pair(number, " ".join(source), " ".join(target), *ids))
            number += 1
    return Contrastive(**splits)


def towers(seed: int = 0) -> TwoTowers:
    """Two small BERTs."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "intermediate_size": 48}
    config = BertConfig(**sizes, **rates, max_position_embeddings=32)
    return TwoTowers(BertModel(config), BertModel(config), outputs=16)

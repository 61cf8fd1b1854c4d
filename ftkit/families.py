"""What each family of models calls its parts: blocks in order, layers inside a block, new heads.

Nothing is guessed from shapes: a family that is not declared here is one clear error, for every strategy.
Names of layers are the ends of module names, their parts perhaps patterns, as `surgery.replace` takes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# What transformers and ftkit call layers that are new for a task and therefore always train
HEADS = (
    "classifier",
    "pre_classifier",
    "score",
    "qa_outputs",
    "classification_head",
    "first_projection",
    "second_projection",
    "log_scale",
)


@dataclass(frozen=True)
class Family:
    """How the models of one family are built."""

    name: str
    blocks: tuple[str, ...]  # the lists of blocks, from the input to the output
    keys_values: tuple[str, ...]  # layers whose output is keys or values; a fused one gives queries, too
    attention_out: str  # its result is added to the residual stream
    feed_forward_out: str  # likewise; its input is the feed-forward activation
    decoder: bool = False  # reads left to right, so that only the last token has seen the whole text
    encoder_decoder: bool = False
    alone: str = ""  # the list of blocks where the encoder of an encoder-decoder stands alone
    shared: tuple[str, ...] = ()  # embeddings that every block reads and that lie behind the blocks
    plain_output: bool = True  # logits are exactly output_layer(hidden), neither scaled nor capped
    unpacked: tuple[str, ...] = ()  # layers that 4 bits would break
    positions: str = "from 0"  # what position_ids count; or "after padding"'s id; "": the model takes none
    reads: str = ""  # the part of the trunk that reads the text, where that is not the trunk itself
    no_prefix: str = ""  # why learned keys and values cannot stand before the text's
    refused: str = ""  # why nothing here trains this family


BERT = Family(
    "BERT", ("encoder.layer",), ("self.key", "self.value"), "attention.output.dense", "[0-9]*.output.dense"
)
LLAMA = Family("Llama", ("layers",), ("k_proj", "v_proj"), "o_proj", "down_proj", decoder=True)
BLOOM = Family(
    "BLOOM",
    ("h",),
    ("query_key_value",),
    "self_attention.dense",
    "dense_4h_to_h",
    decoder=True,
    positions="",
)
BART = Family(
    "BART",
    ("encoder.layers", "decoder.layers"),
    ("k_proj", "v_proj"),
    "out_proj",
    "fc2",
    encoder_decoder=True,
    alone="layers",
    positions="",
    reads="encoder",
)
FAMILIES = {  # by the model_type of transformers' configurations
    "bert": BERT,
    "roberta": replace(BERT, name="RoBERTa", positions="after padding"),
    "xlm-roberta": replace(BERT, name="XLM-RoBERTa", positions="after padding"),
    "electra": replace(BERT, name="ELECTRA"),
    "deberta": replace(
        BERT,
        name="DeBERTa",
        keys_values=("in_proj",),
        shared=("rel_embeddings",),
        no_prefix="its attention scores every pair by relative position, which learned keys do not have",
    ),
    "deberta-v2": replace(
        BERT,
        name="DeBERTa-v2",
        keys_values=("key_proj", "value_proj"),
        shared=("rel_embeddings",),
        no_prefix="its attention scores every pair by relative position, which learned keys do not have",
    ),
    "distilbert": Family("DistilBERT", ("transformer.layer",), ("k_lin", "v_lin"), "out_lin", "lin2"),
    "albert": Family(
        "ALBERT",
        ("encoder.albert_layer_groups",),
        ("attention.key", "attention.value"),
        "attention.dense",
        "ffn_output",
    ),
    "mpnet": Family(
        "MPNet",
        ("encoder.layer",),
        ("attn.k", "attn.v"),
        "attn.o",
        "[0-9]*.output.dense",
        shared=("relative_attention_bias",),
        positions="after padding",
    ),
    "modernbert": Family("ModernBERT", ("layers",), ("Wqkv",), "attn.Wo", "mlp.Wo"),
    "xlnet": Family(
        "XLNet",
        ("layer",),
        (),
        "",
        "ff.layer_2",
        positions="",
        no_prefix="its keys are scored by relative position, which learned keys do not have",
    ),
    "gpt2": Family("GPT-2", ("h",), ("c_attn",), "attn.c_proj", "mlp.c_proj", decoder=True),
    "gpt_neox": Family(
        "GPT-NeoX", ("layers",), ("query_key_value",), "attention.dense", "dense_4h_to_h", decoder=True
    ),
    "bloom": BLOOM,
    "opt": Family(
        "OPT", ("decoder.layers",), ("k_proj", "v_proj"), "out_proj", "fc2", decoder=True, reads="decoder"
    ),
    "phi3": replace(LLAMA, name="Phi-3", keys_values=("qkv_proj",)),
    "llama": LLAMA,
    "mistral": replace(LLAMA, name="Mistral"),
    "qwen2": replace(LLAMA, name="Qwen2"),
    "qwen3": replace(LLAMA, name="Qwen3"),
    "gemma": replace(LLAMA, name="Gemma"),
    "gemma2": replace(LLAMA, name="Gemma 2", plain_output=False),
    "smollm3": replace(LLAMA, name="SmolLM3"),
    "mamba": Family(
        "Mamba",
        ("layers",),
        (),
        "",
        "mixer.out_proj",
        decoder=True,
        positions="",
        unpacked=("dt_proj",),  # its few inputs are fewer than a block of 4-bit numbers
        no_prefix="it has no attention, so there are no keys and values",
    ),
    "bart": BART,
    "t5": Family(
        "T5",
        ("encoder.block", "decoder.block"),
        ("k", "v"),
        "o",
        "wo",
        encoder_decoder=True,
        alone="block",
        positions="",
        reads="encoder",
        plain_output=False,
        unpacked=("wo",),
    ),
    "fnet": Family(
        "FNet",
        ("encoder.layer",),
        (),
        "",
        "[0-9]*.output.dense",
        refused="it ignores the attention mask, so a text's answer depends on the texts beside it",
    ),
}


def family(model) -> Family:
    """The family of a model or of its configuration. Raises ValueError for one that nothing here knows."""
    config = getattr(model, "config", model)
    kind = getattr(config, "model_type", type(model).__name__)
    if kind not in FAMILIES:
        raise ValueError(
            f"expected a model of a declared family ({', '.join(FAMILIES)}), got {kind!r}; declare its parts "
            "in ftkit/families.py, or choose another model"
        )
    if FAMILIES[kind].refused:
        raise ValueError(f"{FAMILIES[kind].name} is not trained here: {FAMILIES[kind].refused}; use BERT")
    return FAMILIES[kind]

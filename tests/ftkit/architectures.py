"""Tiny random models of the architectures that the product is tried on, by transformers' name of each."""

from __future__ import annotations

import torch
import transformers

from ftkit.heads import Classifier

PAD, WORDS = 0, 64
ENCODER = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 48}
ENCODER |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "max_position_embeddings": 64}
DECODER = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 48}
DECODER |= {"max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}
TWO = {"d_model": 32, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_start_token_id": 2}
TWO |= {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "dropout": 0.0,
}
DISENTANGLED = ENCODER | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
SHAPES = {
    "bert": ENCODER,
    "roberta": ENCODER,
    "xlm-roberta": ENCODER,
    "electra": ENCODER | {"embedding_size": 16},
    "distilbert": {"dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 48, "dropout": 0.0},
    "albert": ENCODER | {"embedding_size": 16},
    "mpnet": ENCODER,
    "deberta": DISENTANGLED,
    "deberta-v2": DISENTANGLED,
    "modernbert": DECODER | {"local_attention": 8, "cls_token_id": 1, "sep_token_id": 2},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "dropout": 0.0},
    "gpt2": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }
    | {"bos_token_id": None, "eos_token_id": None},
    "gpt_neox": DECODER,
    "opt": DECODER | {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "phi3": DECODER | {"num_key_value_heads": 2},
    "llama": DECODER | GROUPED,
    "qwen2": DECODER | {"num_key_value_heads": 2},
    "qwen3": DECODER | GROUPED,
    "gemma2": DECODER | GROUPED | {"sliding_window": 8},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "bart": TWO | {"bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64},
    "t5": {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 48, "num_layers": 2, "dropout_rate": 0.0}
    | {"decoder_start_token_id": 0},
}


def load(name, auto):
    """The model under one of transformers' Auto classes; T5 without a task is its encoder."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, vocab_size=WORDS, pad_token_id=PAD, **SHAPES[name])
    alone = name == "t5" and auto is transformers.AutoModel
    return (transformers.T5EncoderModel(config) if alone else auto.from_config(config)).eval()


def classifier(name):
    """The model under a new head for two classes."""
    return Classifier(load(name, transformers.AutoModel), outputs=2).eval()

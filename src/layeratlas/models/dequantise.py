"""A quantised GGUF file into the plain format that every other checkpoint comes in."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def dequantise(gguf: Path, folder: Path) -> None:
    """Write tokenizer, config and float32 safetensors of a GGUF file into `folder`."""
    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    network = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

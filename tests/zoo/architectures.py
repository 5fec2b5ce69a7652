"""The zoo: text architectures of transformers, each with sizes for a tiny network and where its layers are.

A group of places, (blocks, final norm) or (blocks, final norm, the part that reads text), holds the model types that keep their
layers there, each with its sizes; a variant has a word after the model type. The places were written by hand from the networks'
sources and are used by the reference alone: layeratlas finds the layers itself.
"""

from dataclasses import dataclass
from typing import Any

Sizes = dict[str, Any]
Places = dict[tuple[str, ...], dict[str, Sizes]]


@dataclass(frozen=True)
class Architecture:
    """`head` is the auto class that builds the network, `reads` the path of the part that reads text ("": all of it).

    `blocks` is the path of the list of blocks: what enters the first of them is `embed`. `final_norm` is the path of what runs
    behind the last one ("": nothing does).
    """

    name: str
    sizes: Sizes
    head: str
    blocks: str
    final_norm: str
    reads: str = ""

    @property
    def type(self) -> str:
        return self.name.split()[0]


BERT: Sizes = {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
BERT |= {"max_position_embeddings": 512}
LLAMA = BERT | {"num_key_value_heads": 2}
NARROW = LLAMA | {"head_dim": 8}  # for configs whose heads have a width of their own
GPT: Sizes = {"vocab_size": 260, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512}
MAMBA: Sizes = {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 8}
MLA = BERT | {"num_key_value_heads": 4, "kv_lora_rank": 8, "q_lora_rank": 12, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4}
MLA |= {"v_head_dim": 8}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
SHARED = {"shared_expert_intermediate_size": 16}
INDEXED = {"index_topk": 8, "index_head_dim": 8, "index_n_heads": 2}
SSM = {"mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2}
SSD = SSM | {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_chunk_size": 16}
DELTA = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
MROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}
WIDE_MROPE = {"head_dim": 16, "rope_parameters": MROPE["rope_parameters"] | {"mrope_section": [2, 2, 4]}}
HALF_MROPE = {"head_dim": 16, "rope_parameters": MROPE["rope_parameters"] | {"partial_rotary_factor": 0.5}}
SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]
LINEAR = ["linear_attention", "full_attention", "linear_attention"]
WINDOW = {"sliding_window": 8}
SLIDES = WINDOW | {"layer_types": SLIDING}
DELTAS = {"layer_types": LINEAR}
INKLING = {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8, "sliding_window_size": 8, "d_rel": 4}
INKLING |= {"rel_extent": 16, "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2}
LLAMA4 = NARROW | LOCAL | {"intermediate_size_mlp": 48, "attention_chunk_size": 16}
BART: Sizes = {"vocab_size": 260, "d_model": 32, "encoder_layers": 3, "encoder_ffn_dim": 48, "encoder_attention_heads": 4}
BART |= {"decoder_layers": 1, "decoder_ffn_dim": 48, "decoder_attention_heads": 4, "max_position_embeddings": 512}
BART |= {"decoder_start_token_id": 256}
T5: Sizes = {"vocab_size": 260, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_decoder_layers": 1, "num_heads": 4}
T5 |= {"decoder_start_token_id": 258}
SPEECH = {"speech_encoder_layers": 1, "speech_encoder_attention_heads": 2, "speech_encoder_intermediate_size": 16}
SPEECH |= {"t2u_encoder_layers": 1, "t2u_decoder_layers": 1, "t2u_encoder_ffn_dim": 16, "t2u_decoder_ffn_dim": 16}
SPEECH |= {"t2u_vocab_size": 16, "unit_hifi_gan_vocab_size": 16, "hidden_size": 32, "num_hidden_layers": 3}
VISION: Sizes = {"hidden_size": 16, "intermediate_size": 16, "image_size": 28, "patch_size": 14, "num_hidden_layers": 1}
VISION |= {"num_attention_heads": 2}
CLIP = VISION | {"model_type": "clip_vision_model"}
SIGLIP = VISION | {"model_type": "siglip_vision_model"}
QWEN_VISION = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32}
QUANTISER = {"embed_dim": 8, "latent_channels": 8, "num_embeddings": 8, "base_channels": 32, "channel_multiplier": [1]}
QUANTISER |= {"num_res_blocks": 1}
AUDIO = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_hidden_layers": 1}
AUDIO |= {"num_attention_heads": 2, "intermediate_size": 16, "hidden_size": 32}
AS_LLAMA = LLAMA | {"model_type": "llama"}
AS_QWEN = LLAMA | {"model_type": "qwen2"}
AS_MISTRAL = LLAMA | {"model_type": "mistral"}

# fmt: off
# A table is read by its rows.
GPTS: Places = {
    ("transformer.h", ""): {"openai-gpt": GPT},
    ("transformer.h", "transformer.ln_f"): {
        "gpt2": GPT,
        "gpt_bigcode": GPT,
        "gpt_bigcode multi_head": GPT | {"multi_query": False},
        "gptj": GPT | {"rotary_dim": 4},
        "codegen": GPT | {"rotary_dim": 4},
                "gpt_neo": {"vocab_size": 260, "hidden_size": 32, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 512}
            | {"attention_types": [[["global", "local"], 2]], "window_size": 8},
        "bloom": BERT | {"n_head": 4},
        "falcon": BERT,
        "falcon alibi": BERT | {"alibi": True},
        "falcon new": BERT | {"new_decoder_architecture": True, "num_kv_heads": 2},
        "falcon sequential": BERT | {"parallel_attn": False},
        "gpt-sw3": GPT,
    },
    ("gpt_neox.layers", "gpt_neox.final_layer_norm"): {
        "gpt_neox": BERT,
        "gpt_neox sequential": BERT | {"use_parallel_residual": False},
    },
    ("gpt_neox_japanese.layers", "gpt_neox_japanese.final_layer_norm"): {"gpt_neox_japanese": BERT},
    ("model.layers", "model.norm"): {"gpt_oss": NARROW | LOCAL | WINDOW},
    ("transformer.h", "transformer.layernorm"): {"ctrl": GPT | {"dff": 48}},
    ("model.decoder.layers", "model.decoder.final_layer_norm"): {"opt": BERT | {"ffn_dim": 48, "word_embed_proj_dim": 32}},
    ("model.decoder.layers", ""): {
        "opt post_norm": BERT | {"ffn_dim": 48, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
    },
    ("biogpt.layers", "biogpt.layer_norm"): {"biogpt": BERT},
    ("transformer.blocks", "transformer.norm_f"): {
        "mpt": {"vocab_size": 260, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 512},
    },
    ("model.layers", "model.layer_norm"): {
        "xglm": {"vocab_size": 260, "d_model": 32, "ffn_dim": 48, "num_layers": 3, "attention_heads": 4},
    },
}

LLAMAS: Places = {
    ("model.layers", "model.norm"): {
        "llama": LLAMA,
        "mistral": LLAMA | WINDOW,
        "ministral": NARROW | SLIDES,
        "ministral3": NARROW,
        "qwen2": LLAMA,
        "qwen2 sliding": LLAMA | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
        "qwen3": NARROW,
        "gemma": NARROW,
        "gemma2": NARROW | WINDOW,
        "gemma3_text": NARROW | SLIDES,
        "vaultgemma": NARROW | WINDOW,
        "phi3": LLAMA | WINDOW,
        "olmo": LLAMA,
        "olmo2": LLAMA,
        "olmo3": LLAMA | SLIDES,
        "cohere": LLAMA,
        "cohere2": NARROW | SLIDES,
        "granite": LLAMA | {"residual_multiplier": 0.5, "embedding_multiplier": 3.0},
        "granite_swa": LLAMA | SLIDES,
        "stablelm": LLAMA,
        "stablelm parallel": LLAMA | {"use_parallel_residual": True, "qk_layernorm": True},
        "starcoder2": LLAMA | WINDOW,
        "glm": NARROW,
        "glm4": NARROW,
        "ernie4_5": NARROW,
        "hunyuan_v1_dense": NARROW,
        "smollm3": LLAMA | {"no_rope_layer_interval": 2},
        "apertus": LLAMA,
        "exaone4": NARROW | WINDOW | {"sliding_window_pattern": 2},
        "nemotron": NARROW,
        "arcee": NARROW,
        "bitnet": LLAMA,
        "cwm": NARROW | SLIDES,
        "diffllama": LLAMA,
        "doge": LLAMA,
        "doge experts": LLAMA | {"is_moe": True, "num_experts": 16, "num_experts_per_tok": 2},
        "helium": NARROW,
        "hyperclovax": NARROW,
        "internlm3": NARROW,
        "iquestcoder": NARROW,
        "jais2": NARROW,
        "nanochat": NARROW,
        "seed_oss": NARROW,
        "moshi": NARROW | {"ffn_dim": 96, "audio_vocab_size": 16},
        "minicpm3": MLA,
        "youtu": MLA,
        "gemma4_text": NARROW | SLIDES | {"hidden_size_per_layer_input": 0, "global_head_dim": 8},
                "gemma4_text per_layer": NARROW | SLIDES | {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 260,
            "global_head_dim": 8},
        "gemma4_unified_text": NARROW | SLIDES | {"global_head_dim": 8},
        "cohere_compass_text": NARROW | SLIDES | {"rope_parameters": {kind: MROPE["rope_parameters"] for kind in SLIDING}},
                "gemma3n_text": NARROW | {"layer_types": SLIDING, "sliding_window": 8, "num_kv_shared_layers": 0, "laurel_rank":
            4, "hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 260, "activation_sparsity_pattern": [0.0, 0.0,
            0.0]},
    },
    ("model.layers", "model.final_layernorm"): {
        "phi": BERT | {"partial_rotary_factor": 0.5},
        "persimmon": BERT,
    },
    ("model.layers", "model.final_norm"): {"modernbert-decoder": BERT | {"local_attention": 16}},
}

MIXTURES: Places = {
    ("model.layers", "model.norm"): {
        "mixtral": LLAMA | LOCAL,
        "qwen2_moe": LLAMA | EXPERTS | SHARED,
        "qwen3_moe": NARROW | EXPERTS,
        "phimoe": LLAMA | LOCAL,
        "olmoe": LLAMA | EXPERTS,
        "flex_olmo": LLAMA | EXPERTS,
        "granitemoe": LLAMA | LOCAL,
        "granitemoeshared": LLAMA | LOCAL | {"shared_intermediate_size": 16},
        "granitemoe_swa": LLAMA | LOCAL | SLIDES,
        "deepseek_v2": MLA | ROUTED | {"first_k_dense_replace": 1},
        "deepseek_v3": MLA | ROUTED | {"first_k_dense_replace": 1},
        "deepseek_v32": MLA | ROUTED | INDEXED | {"first_k_dense_replace": 1},
        "glm_moe_dsa": MLA | ROUTED | INDEXED | {"first_k_dense_replace": 1},
        "glm4_moe": NARROW | ROUTED,
        "glm4_moe_lite": MLA | ROUTED,
        "dots1": NARROW | ROUTED | {"n_shared_experts": 1, "first_k_dense_replace": 1},
        "ernie4_5_moe": NARROW | {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 16},
        "hunyuan_v1_moe": NARROW | {"num_experts": 4, "moe_topk": 2},
        "exaone_moe": NARROW | EXPERTS | WINDOW,
        "afmoe": NARROW | EXPERTS | WINDOW | {"global_attn_every_n_layers": 2},
        "aria_text": NARROW | {"moe_num_experts": 4},
        "cohere2_moe": NARROW | EXPERTS | WINDOW,
        "jetmoe": BERT | LOCAL | {"num_key_value_heads": 2, "kv_channels": 8},
        "llama4_text": LLAMA4,
        "mimo_v2_flash": NARROW | ROUTED | {"v_head_dim": 8, "sliding_window": 8},
        "minimax_m2": NARROW | LOCAL,
        "solar_open": NARROW | ROUTED,
        "laguna": NARROW | EXPERTS | SHARED | {"sliding_window": 8},
        "mellum": NARROW | EXPERTS | WINDOW,
        "flint": NARROW | EXPERTS | SHARED | {"sliding_window": 9},
        "kolibri1": NARROW | EXPERTS | SHARED | {"sliding_window": 9},
        "beam": NARROW | EXPERTS | WINDOW | {"n_group": 1, "topk_group": 1},
        "hy_v3": NARROW | EXPERTS,
        "axk1": MLA | ROUTED,
        "axk2": MLA | ROUTED | INDEXED | {"gated_norm_rank": 4, "head_dim": 8},
                "inkling_text": NARROW | {**INKLING},
        "inkling2_text": NARROW | {"unpadded_vocab_size": 260, **INKLING, "n_layers_per_attn_res_block": 2},
                "minimax_m3_vl_text": NARROW | LOCAL | {"dense_intermediate_size": 48, "shared_intermediate_size": 16,
            "rotary_dim": 4, "index_head_dim": 8, "index_block_size": 8, "index_topk_blocks": 2},
        "zaya": NARROW | EXPERTS | {"router_hidden_size": 8, "num_experts_per_tok": 1},
    },
    ("transformer.blocks", "transformer.norm_f"): {
                "dbrx": {"vocab_size": 260, "d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 512} | {"attn_config":
            {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8}} | {"ffn_config": {"ffn_hidden_size": 48, "moe_num_experts":
            4, "moe_top_k": 2}},
    },
}

RECURRENCES: Places = {
    ("model.layers", "model.hyper_connection_mixer"): {
        "qwen4_exp_text": NARROW | EXPERTS | DELTA | SHARED | DELTAS | {"hc_lowrank": 4, "indexer_n_heads": 2,
            "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 16, "indexer_compress_ratio": 4},
    },
    ("backbone.layers", "backbone.norm_f"): {
        "mamba": MAMBA,
        "falcon_mamba": MAMBA,
        "mamba2": MAMBA | {"num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 16},
    },
    ("rwkv.blocks", "rwkv.ln_out"): {
        "rwkv": {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 3, "context_length": 512},
        "rwkv rescaled": {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 8, "context_length": 512},
    },
    ("backbone.blocks", "backbone.out_norm"): {
        "xlstm": {"vocab_size": 260, "hidden_size": 64, "num_hidden_layers": 3, "num_heads": 2},
    },
    ("model.layers", "model.final_norm"): {"recurrent_gemma": LLAMA | {"attention_window_size": 8, "lru_width": 32}},
    ("model.layers", "model.final_layernorm"): {
        "jamba": LLAMA | SSM | {"num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
        "bamba": LLAMA | SSD | {"attn_layer_indices": [1]},
        "falcon_h1": NARROW | SSD | {"mamba_d_ssm": 64},
        "zamba": LLAMA | SSM | {"num_hidden_layers": 5, "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
                "zamba2": LLAMA | {"num_hidden_layers": 5, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid", "mamba"],
            "mamba_d_state": 8} | {"n_mamba_heads": 8, "mamba_headdim": 8, "chunk_size": 16, "use_mamba_kernels": False,
            "num_key_value_heads": 4},
    },
    ("model.layers", "model.norm"): {
        "granitemoehybrid": LLAMA | SSD | LOCAL | {"shared_intermediate_size": 16, "layer_types": ["mamba", "attention", "mamba"]},
        "qwen3_next": NARROW | EXPERTS | DELTA | SHARED | DELTAS,
        "qwen3_5_text": NARROW | DELTA | DELTAS,
        "qwen3_5_moe_text": NARROW | EXPERTS | DELTA | SHARED | DELTAS,
        "olmo_hybrid": LLAMA | DELTA | DELTAS,
        "minimax": LLAMA | LOCAL | {"layer_types": LINEAR, "block_size": 16},
                "kimi_linear": MLA | LOCAL | {"q_lora_rank": None, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 16,
            "linear_head_dim": 8, "linear_num_heads": 4, "layer_types": LINEAR},
                "bailing_hybrid": MLA | LOCAL | {"n_group": 1, "topk_group": 1, "moe_intermediate_size": 16, "head_dim": 8,
            "layer_group_size": 2, "first_k_dense_replace": 1},
    },
    ("model.layers", "model.norm_f"): {
                "nemotron_h": NARROW | {"layers_block_type": ["mamba", "attention", "moe"], "ssm_state_size": 8,
            "mamba_num_heads": 8, "mamba_head_dim": 8} | {"n_groups": 2, "chunk_size": 16, "n_routed_experts": 4,
            "moe_intermediate_size": 16, "moe_shared_expert_intermediate_size": 16},
    },
    ("model.layers", "model.embedding_norm"): {
        "lfm2": LLAMA | {"layer_types": ["conv", "full_attention", "conv"], "block_multiple_of": 16},
        "lfm2_moe": LLAMA | EXPERTS | {"layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1},
        "lfm3": NARROW | WINDOW,
    },
}

DECODING_ENCODERS: Places = {
    ("bert.encoder.layer", ""): {
        "bert decoder": BERT | {"is_decoder": True},
        "bert-generation": BERT,
    },
}

ENCODERS: Places = {
    ("albert.encoder.albert_layer_groups", ""): {"albert unshared": BERT | {"embedding_size": 16, "num_hidden_groups": 3}},
    ("bert.encoder.layer", ""): {
        "bert": BERT,
        "big_bird": BERT,
        "big_bird full": BERT | {"attention_type": "original_full"},
    },
    ("roberta.encoder.layer", ""): {
        "roberta": BERT,
        "xlm-roberta": BERT,
        "camembert": BERT,
        "xmod": BERT | {"languages": ["en_XX", "de_DE"], "default_language": "en_XX"},
    },
    ("roberta.encoder.layer", "roberta.encoder.LayerNorm"): {"xlm-roberta-xl": BERT},
    ("roberta_prelayernorm.encoder.layer", "roberta_prelayernorm.LayerNorm"): {"roberta-prelayernorm": BERT},
    ("data2vec_text.encoder.layer", ""): {"data2vec-text": BERT},
    ("distilbert.transformer.layer", ""): {
        "distilbert": {"vocab_size": 260, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48},
    },
    ("electra.encoder.layer", ""): {"electra": BERT | {"embedding_size": 16}},
    ("convbert.encoder.layer", ""): {"convbert": BERT | {"embedding_size": 16}},
    ("ernie.encoder.layer", ""): {"ernie": BERT},
    ("bert.encoder.layer", "bert.encoder.ln"): {"megatron-bert": BERT},
    ("mobilebert.encoder.layer", ""): {"mobilebert": BERT | {"embedding_size": 16, "intra_bottleneck_size": 16}},
    ("mpnet.encoder.layer", ""): {"mpnet": BERT},
    ("deberta.encoder.layer", ""): {
        "deberta": BERT,
        "deberta relative": BERT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
                "deberta-v2": BERT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
            "share_att_key": True},
        "deberta-v2 convolution": BERT | {"conv_kernel_size": 3, "relative_attention": True},
    },
    ("model.layers", "model.final_norm"): {"modernbert": BERT | {"local_attention": 16}},
    ("nomic_bert.layers", ""): {"nomic_bert": BERT},
    ("model.layers", "model.norm"): {
        "eurobert": LLAMA,
        "ultrabert": LLAMA,
    },
    ("gte.layers", ""): {"gte": BERT},
    ("roberta.layers", ""): {"jina_embeddings_v3": BERT},
    ("esm.encoder.layer", "esm.encoder.emb_layer_norm_after"): {
        "esm": BERT | {"position_embedding_type": "rotary", "mask_token_id": 259},
    },
    ("esmc.layers", "esmc.norm"): {"esmc": BERT | {"num_key_value_heads": 4, "mask_token_id": 259}},
    ("longformer.encoder.layer", ""): {"longformer": BERT | {"attention_window": 8}},
    ("nystromformer.encoder.layer", ""): {
        "nystromformer": BERT | {"num_landmarks": 64, "segment_means_seq_len": 64, "conv_kernel_size": 5},
    },
    ("mra.encoder.layer", ""): {"mra": BERT},
    ("yoso.encoder.layer", ""): {"yoso": BERT | {"use_expectation": True}},
    ("roformer.encoder.layer", ""): {"roformer": BERT | {"embedding_size": 16}},
    ("ibert.encoder.layer", ""): {"ibert": BERT},
    ("luke.encoder.layer", ""): {"luke": BERT | {"entity_vocab_size": 10, "entity_emb_size": 8}},
    ("rembert.encoder.layer", ""): {"rembert": BERT | {"input_embedding_size": 16, "output_embedding_size": 16}},
    ("roc_bert.encoder.layer", ""): {
                "roc_bert": BERT | {"pronunciation_vocab_size": 260, "shape_vocab_size": 260, "pronunciation_embed_dim": 8,
            "shape_embed_dim": 8},
    },
    ("fnet.encoder.layer", ""): {"fnet": BERT},
    ("layoutlm.encoder.layer", ""): {"layoutlm": BERT | {"max_2d_position_embeddings": 16}},
    ("tapas.encoder.layer", ""): {"tapas": BERT},
}

HEADLESS: Places = {
    ("encoder.layer", ""): {
        "splinter": BERT,
        "lilt": BERT | {"hidden_size": 48},
        "markuplm": BERT | {"max_depth": 2, "xpath_unit_hidden_size": 4},
        "visual_bert": BERT | {"visual_embedding_dim": 8},
    },
    ("question_encoder.bert_model.encoder.layer", ""): {"dpr": BERT},
    ("layers", "norm"): {"openai_privacy_filter": NARROW | LOCAL | WINDOW},
    ("encoder.layers", "final_layer_norm"): {"clip_text_model": BERT},
}

ENCODERS_OF_TWO: Places = {
    ("encoder.block", "encoder.final_layer_norm", "encoder"): {
        "t5": T5,
        "mt5": T5,
        "umt5": T5,
        "longt5": T5 | {"local_radius": 8},
        "longt5 transient_global": T5 | {"local_radius": 8, "global_block_size": 4, "encoder_attention_type": "transient-global"},
        "switch_transformers": T5 | {"num_experts": 4, "expert_capacity": 64, "num_sparse_encoder_layers": 1},
    },
    ("model.encoder.layers", "", "model.encoder"): {
        "bart": BART,
        "mvp": BART,
        "plbart": BART,
        "marian": BART,
        "blenderbot-small": BART,
    },
    ("model.encoder.layers", "model.encoder.layer_norm", "model.encoder"): {
        "mbart": BART,
        "m2m_100": BART,
        "nllb-moe": BART | {"num_experts": 4, "encoder_sparse_step": 2},
        "pegasus": BART,
        "pegasus_x": BART | {"num_global_tokens": 4, "block_size": 16},
        "blenderbot": BART,
    },
    ("model.encoder.layers", "model.encoder.layernorm_embedding", "model.encoder"): {"bigbird_pegasus": BART},
    ("led.encoder.layers", "", "led.encoder"): {
        "led": BART | {"attention_window": 8, "max_encoder_position_embeddings": 512, "max_decoder_position_embeddings": 512},
    },
    ("prophetnet.encoder.layers", "", "prophetnet.encoder"): {
                "prophetnet": {"vocab_size": 260, "hidden_size": 32, "num_encoder_layers": 3, "num_decoder_layers": 1,
            "encoder_ffn_dim": 48, "decoder_ffn_dim": 48} | {"num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4,
            "max_position_embeddings": 512},
    },
    ("text_encoder.layers", "text_encoder.layer_norm", "text_encoder"): {
        "seamless_m4t": BART | SPEECH,
        "seamless_m4t_v2": BART | SPEECH,
    },
    ("model.encoder.layers", "model.encoder.norm", "model.encoder"): {
        "t5gemma": {"encoder": NARROW | WINDOW, "decoder": NARROW | WINDOW},
    },
}

TEXT_DECODERS: Places = {
    ("layers", "norm"): {
        "mistral4": MLA | ROUTED,
        "mistral_large4_text": MLA | ROUTED | INDEXED | {"head_dim": 4},
        "molmo2_text": NARROW,
        "qwen2_vl_text": NARROW | MROPE,
        "qwen2_5_vl_text": NARROW | MROPE,
        "qwen3_vl_text": NARROW | MROPE,
        "qwen3_vl_moe_text": NARROW | MROPE | EXPERTS,
        "glm4v_text": NARROW | MROPE,
        "glm4v_moe_text": NARROW | MROPE | ROUTED | {"head_dim": 16},
        "glm_ocr_text": NARROW | WIDE_MROPE,
        "glm_image_text": NARROW | WIDE_MROPE,
        "granite_docling_text": NARROW,
        "hunyuan_vl_text": NARROW | MROPE,
        "muse_glimmer_text": NARROW | WINDOW,
        "muse_spark_text": NARROW | LOCAL | {"moe_hidden_size": 16, "moe_intermediate_size": 16},
        "cosmos3_edge_text": NARROW | MROPE,
    },
    ("layers", "embedding_projection"): {
                "embedding_gemma2_text": NARROW | SLIDES | {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 260,
            "embedding_dim": 16, "global_head_dim": 8},
    },
    ("encoder.layers", "final_layer_norm"): {"tipsv2_text_model": BERT},
}

IMAGE_READERS: Places = {
    ("language_model.model.decoder.layers", "language_model.model.decoder.final_layer_norm", "language_model"): {
        "blip-2": {"text_config": BERT | {"model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32}, "vision_config": VISION,
            "qformer_config": VISION | {"encoder_hidden_size": 16}},
    },
    ("text_model.model.layers", "text_model.model.layer_norm", "text_model"): {
        "kosmos-2": {"text_config": {"vocab_size": 260, "embed_dim": 32, "layers": 3, "ffn_dim": 48, "attention_heads": 4,
            "max_position_embeddings": 512}, "vision_config": VISION, "latent_query_num": 4},
    },
    ("language_model.model.layers", "language_model.model.norm", "language_model"): {
                "llama4": {"text_config": LLAMA4, "vision_config": VISION | {"vision_output_dim": 16, "projector_input_dim": 16,
            "projector_output_dim": 16}},
    },
    ("model.language_model.layers", "model.language_model.norm"): {
        "qwen3_5": {"text_config": NARROW | DELTA | DELTAS, "vision_config": QWEN_VISION},
        "qwen3_5_moe": {"text_config": NARROW | EXPERTS | DELTA | SHARED | DELTAS, "vision_config": QWEN_VISION},
        "qwen3_vl_moe": {"text_config": NARROW | MROPE | EXPERTS, "vision_config": QWEN_VISION | {"deepstack_visual_indexes": [0]}},
        "glm4v": {"text_config": NARROW | HALF_MROPE, "vision_config": QWEN_VISION},
        "llava_next_video": {"text_config": AS_LLAMA, "vision_config": CLIP},
        "video_llava": {"text_config": AS_LLAMA, "vision_config": CLIP},
                "aria": {"text_config": NARROW | {"moe_num_experts": 4, "model_type": "aria_text"}, "vision_config": VISION |
            {"model_type": "idefics3_vision"}},
                "cohere2_vision": {"text_config": NARROW | {"model_type": "cohere2"}, "vision_config": SIGLIP,
            "alignment_intermediate_size": 16},
        "ovis2": {"text_config": AS_QWEN, "vision_config": VISION | {"vocab_size": 16}, "hidden_size": 32},
                "janus": {"text_config": AS_LLAMA, "vision_config": VISION | {"projection_dim": 32}, "vq_config": QUANTISER |
            {"projection_dim": 16, "image_token_embed_dim": 16}},
                "gemma4": {"text_config": NARROW | SLIDES | {"hidden_size_per_layer_input": 0, "global_head_dim": 8},
            "vision_config": VISION | {"head_dim": 8}, "audio_config": None},
        "gemma3": {"text_config": NARROW | SLIDES, "vision_config": VISION, "mm_tokens_per_image": 4},
        "llava": {"text_config": AS_LLAMA, "vision_config": CLIP},
        "llava_next": {"text_config": AS_LLAMA, "vision_config": CLIP},
        "llava_onevision": {"text_config": AS_QWEN, "vision_config": SIGLIP},
        "vipllava": {"text_config": AS_LLAMA, "vision_config": CLIP | {"num_hidden_layers": 13}},
        "mistral3": {"text_config": AS_MISTRAL, "vision_config": VISION | {"model_type": "pixtral", "head_dim": 8}},
        "internvl": {"text_config": AS_QWEN, "vision_config": VISION | {"image_size": [28, 28], "patch_size": [14, 14]}},
        "aya_vision": {"text_config": NARROW | {"model_type": "cohere2"}, "vision_config": SIGLIP},
                "qwen2_vl": {"text_config": LLAMA | MROPE, "vision_config": {"depth": 1, "embed_dim": 16, "num_heads": 2,
            "hidden_size": 32}},
        "qwen2_5_vl": {"text_config": LLAMA | MROPE, "vision_config": QWEN_VISION},
        "qwen3_vl": {"text_config": NARROW | MROPE, "vision_config": QWEN_VISION | {"deepstack_visual_indexes": [0]}},
                "mllama": {"text_config": LLAMA | {"num_hidden_layers": 5, "cross_attention_layers": [1, 3], "rope_parameters":
            {"rope_type": "default", "rope_theta": 10000.0}}, "vision_config": VISION | {"num_global_layers": 1,
            "attention_heads": 2, "vision_output_dim": 32, "intermediate_layers_indices": [0], "max_num_tiles": 1,
            "supported_aspect_ratios": [[1, 1]]}},
    },
    ("model.layers", "model.norm"): {"chameleon": LLAMA | {"vq_config": QUANTISER, "vocabulary_map": {"<image>": 259}}},
    ("model.text_model.layers", "model.text_model.norm"): {
                "emu3": {"text_config": LLAMA, "vq_config": QUANTISER | {"codebook_size": 8, "hidden_size": 32}, "vocabulary_map":
            {"<image>": 259}},
                "idefics2": {"text_config": AS_MISTRAL, "vision_config": VISION, "perceiver_config": {"hidden_size": 32,
            "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2, "resampler_head_dim": 8,
            "num_key_value_heads": 2}},
        "idefics3": {"text_config": AS_LLAMA, "vision_config": VISION, "scale_factor": 1},
        "smolvlm": {"text_config": AS_LLAMA, "vision_config": VISION, "scale_factor": 1},
    },
    ("model.language_model.layers", "model.language_model.norm", "model.language_model"): {
        "paligemma": {"text_config": NARROW | {"model_type": "gemma"}, "vision_config": SIGLIP, "projection_dim": 32},
    },
    ("model.language_model.layers", "model.language_model.embedding_norm"): {
                "lfm2_vl": {"text_config": LLAMA | {"model_type": "lfm2", "layer_types": ["conv", "full_attention", "conv"],
            "block_multiple_of": 16}, "vision_config": VISION | {"model_type": "siglip2_vision_model", "num_patches": 4},
            "downsample_factor": 1, "projector_hidden_size": 16},
    },
}

OTHER_IMAGE_READERS: Places = {
    ("model.language_model.layers", "model.language_model.final_layernorm"): {
        "fuyu": {"text_config": BERT | {"model_type": "persimmon"}, "patch_size": 2},
    },
}

MASKED_IMAGE_READERS: Places = {
    ("model.text_model.layers", "model.text_model.final_norm"): {
        "modernvbert": {"text_config": BERT | {"model_type": "modernbert", "local_attention": 16}, "vision_config": SIGLIP},
    },
}

AUDIO_READERS: Places = {
    ("model.language_model.layers", "model.language_model.norm"): {
        "qwen2_audio": {"text_config": AS_QWEN, "audio_config": AUDIO | {"model_type": "qwen2_audio_encoder"}},
        "voxtral": {"text_config": AS_LLAMA, "audio_config": AUDIO | {"model_type": "voxtral_encoder"}},
        "audioflamingo3": {"text_config": AS_QWEN, "audio_config": AUDIO | {"model_type": "audioflamingo3_encoder"}},
    },
}
# fmt: on


def _rows(places: Places, head: str) -> list[Architecture]:
    return [Architecture(name, sizes, head, *place) for place, types in places.items() for name, sizes in types.items()]


_ROWS = [
    *(
        row
        for places in (GPTS, LLAMAS, MIXTURES, RECURRENCES, DECODING_ENCODERS, OTHER_IMAGE_READERS)
        for row in _rows(places, "CausalLM")
    ),
    *(row for places in (ENCODERS, MASKED_IMAGE_READERS) for row in _rows(places, "MaskedLM")),
    *(row for places in (ENCODERS_OF_TWO, AUDIO_READERS) for row in _rows(places, "Seq2SeqLM")),
    *_rows(IMAGE_READERS, "ImageTextToText"),
    *(row for places in (HEADLESS, TEXT_DECODERS) for row in _rows(places, "")),
]
ZOO = {row.name: row for row in _ROWS}

# Networks that change states between their blocks and report them so: a block's state is what enters the next one.
HEARD_BETWEEN = {"deberta-v2 convolution", "rwkv rescaled"}
# Networks whose own code mixes dtypes, or has no arithmetic of this one on a CPU.
NO_BFLOAT16 = {"deberta", "deberta relative", "fnet", "mra"}
# Read in bfloat16 with a head, as the reference is, its final norm is rounded otherwise than without one.
ROUNDED_BELOW_A_HEAD = {"inkling2_text"}
# Networks that do not report, for every block, weights of tokens that are not negative and sum to 1: attention with a sink, blocks
# without attention, attention that is local, linear or sparse, scores before their softmax.
NO_ATTENTION = {
    *("gpt_oss", "openai_privacy_filter", "mimo_v2_flash", "flint", "inkling2_text"),
    *("mamba", "falcon_mamba", "mamba2", "rwkv", "rwkv rescaled", "xlstm", "fnet", "mra", "yoso"),
    *("recurrent_gemma", "jamba", "bamba", "zamba", "zamba2", "granitemoehybrid", "nemotron_h", "kimi_linear", "bailing_hybrid"),
    *("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_5", "qwen3_5_moe", "qwen4_exp_text", "olmo_hybrid", "minimax"),
    *("lfm2", "lfm2_moe", "lfm2_vl", "lfm3"),
    *("longformer", "led", "longt5", "longt5 transient_global", "pegasus_x", "prophetnet"),
}

"""Model types that layeratlas refuses, each with the words of its line that say why."""

from dataclasses import dataclass

from zoo.architectures import BART, BERT, INDEXED, MLA, NARROW, ROUTED, T5, VISION, Sizes


@dataclass(frozen=True)
class Refusal:
    """A tiny network, `head` being the auto class that builds it, and words of the line with which it is refused."""

    sizes: Sizes
    head: str
    words: str


XLM: Sizes = {"vocab_size": 260, "emb_dim": 32, "n_layers": 3, "n_heads": 4}
DEEPSEEK_4: Sizes = BERT | INDEXED | {"head_dim": 16, "q_lora_rank": 12, "n_routed_experts": 4, "num_experts_per_tok": 2}
DEEPSEEK_4 |= {"moe_intermediate_size": 16, "o_groups": 2, "o_lora_rank": 8, "sliding_window": 8, "partial_rotary_factor": 0.5}
LONGCAT: Sizes = MLA | {"num_hidden_layers": 4, "num_layers": 2, "ffn_hidden_size": 48, "moe_topk": 2, "n_routed_experts": 4}
LONGCAT |= {"zero_expert_num": 2, "expert_ffn_hidden_size": 16, "head_dim": 4, "qk_head_dim": 8}
REFORMER: Sizes = {"vocab_size": 260, "hidden_size": 32, "attention_head_size": 8, "num_attention_heads": 4, "is_decoder": True}
REFORMER |= {"attn_layers": ["local", "lsh", "local"], "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16]}
REFORMER |= {"feed_forward_size": 48, "max_position_embeddings": 64, "local_attn_chunk_length": 16, "lsh_attn_chunk_length": 16}
GLM_5: Sizes = MLA | ROUTED | INDEXED | {"qk_rope_head_dim": 0, "index_kpool": 4, "linear_head_dim": 8, "linear_num_heads": 4}
PERCEIVER: Sizes = {"vocab_size": 260, "d_model": 32, "d_latents": 32, "num_latents": 4, "num_self_attends_per_block": 3}
PERCEIVER |= {"num_self_attention_heads": 4, "num_cross_attention_heads": 4, "max_position_embeddings": 64}
FUNNEL: Sizes = {"vocab_size": 260, "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48, "block_sizes": [1, 1, 1]}
TWO_BERTS: Sizes = {"encoder": BERT | {"model_type": "bert"}, "decoder_start_token_id": 256}
TWO_BERTS |= {"decoder": BERT | {"model_type": "bert", "is_decoder": True, "add_cross_attention": True}}
TROCR: Sizes = {"vocab_size": 260, "d_model": 32, "decoder_layers": 3, "decoder_attention_heads": 4, "decoder_ffn_dim": 48}
INSTRUCTBLIP: Sizes = {"text_config": BERT | {"model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32}}
INSTRUCTBLIP |= {"vision_config": VISION, "qformer_config": VISION | {"encoder_hidden_size": 16}}
IDEFICS_VISION: Sizes = {"embed_dim": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}

REFUSED = {
    # one block that runs several times, or two stacks that take turns
    "albert": Refusal(BERT | {"embedding_size": 16}, "MaskedLM", "has no list of 3 blocks"),
    "hrm_text": Refusal(NARROW | {"num_hidden_layers": 4, "num_layers_per_stack": 2}, "CausalLM", "has no list of 4 blocks"),
    "longcat_flash": Refusal(LONGCAT, "CausalLM", "has no list of 4 blocks"),
    # several residual streams, none of which is the one
    "deepseek_v4": Refusal(DEEPSEEK_4, "CausalLM", "embed has several parallel streams"),
    "hy_v4": Refusal(MLA | ROUTED | INDEXED | {"head_dim": 8}, "CausalLM", "embed has several parallel streams"),
    "glm5_next_text": Refusal(GLM_5, "", "embed has several parallel streams"),
    # no vector per token: tokens first, shortened, or read by a few latent vectors
    "xlnet": Refusal(
        {"vocab_size": 260, "d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 48}, "CausalLM", "embed has 2 states"
    ),
    "fsmt": Refusal(BART | {"src_vocab_size": 260, "tgt_vocab_size": 260}, "Seq2SeqLM", "embed has 2 states"),
    "canine": Refusal(BERT, "", "embed has 12 states for 48 tokens"),
    "funnel": Refusal(FUNNEL, "MaskedLM", "is not supported"),
    "perceiver": Refusal(PERCEIVER, "MaskedLM", "reads something else, not text"),
    # no module is a block, or blocks are called by another way than others
    "xlm": Refusal(XLM, "MaskedLM", "hidden_states.0. is none of the layers heard"),
    "flaubert": Refusal(XLM, "MaskedLM", "hidden_states.0. is none of the layers heard"),
    "squeezebert": Refusal(BERT | {"embedding_size": 32}, "MaskedLM", "its blocks did not run"),
    # more than text is needed
    "bros": Refusal(BERT, "", "You have to specify bbox"),
    "udop": Refusal(T5 | {"image_size": 28, "patch_size": 14, "max_2d_position_embeddings": 64}, "", "Bbox is required"),
    "idefics": Refusal(BERT | {"vision_config": IDEFICS_VISION}, "ImageTextToText", "Exactly 1 of pixel_values"),
    "git": Refusal(BERT | {"vision_config": VISION}, "CausalLM", "reads images or audio, not text"),
    # others
    "reformer": Refusal(REFORMER, "CausalLM", "the same text gives other numbers each time"),
    "cpmant": Refusal(BERT | {"dim_head": 8, "dim_ff": 48, "prompt_length": 4}, "CausalLM", "is not supported"),
    "instructblip": Refusal(INSTRUCTBLIP, "ImageTextToText", "48 of its 52 weights are not in the checkpoint"),
    "trocr": Refusal(TROCR, "CausalLM", "Unrecognized configuration class"),
    "encoder-decoder": Refusal(TWO_BERTS, "Seq2SeqLM", "Unrecognized configuration class"),
}

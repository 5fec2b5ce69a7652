"""Model types of transformers that read text and are no row of the zoo, each under the reason why not.

Those that layeratlas refuses are in `refused.py`, where the line is tested that it says.
"""

LEFT_OUT: dict[str, str] = {
    name: reason
    for reason, names in {
        "reads text by a decoder whose type has a row of its own; only its images or sounds are other": (
            "cohere_compass cosmos3_edge cosmos3_omni deepseek_vl deepseek_vl_hybrid exaone4_5 fun_asr_nano gemma4_unified glm46v"
            " glm4v_moe glm_ocr glmasr glmga got_ocr2 granite_docling granite_speech granite_speech_plus hunyuan_vl"
            " hyperclovax_vision_v2 inkling2 inkling_mm_model kimi_k25 lfm3_vl lighton_ocr minicpm_ocr minicpmv4_6 minicpmv4_7"
            " minimax_m3_vl mistral_large4 molmo2 moss_transcribe_diarize muse_glimmer muse_spark musicflamingo nemo_speechlm"
            " nemotron_h_omni pp_chart2table qianfan_ocr qwen3_asr shieldgemma2 ultravbert vibevoice_asr video_llama_3"
        ),
        "reads text by a decoder whose type has a row among the refused": "glm5_next qwen4_exp",
        "reads images by the package timm, which is no dependency": "fast_vlm gemma3n perception_lm",
        "reads sound and no text": "kyutai_speech_to_text speech_to_text voxtral_realtime voxtral_realtime_text whisper",
        "makes music of what another model's encoder reads": "musicgen musicgen_melody",
        "reads images and writes text: what it reads is no text": "pix2struct pp_formulanet vision-encoder-decoder",
        "needs images, proteins or the boxes of a page beside the text": (
            "blip evolla florence2 instructblipvideo layoutlmv2 layoutlmv3 lxmert pi0"
        ),
        "drafts for another model, whose states it reads": "gemma4_assistant gemma4_unified_assistant",
        "writes text out of noise, not from left to right": "diffusion_gemma",
        "encodes prompts for segmenting images and has no model of its own": "sam3_lite_text sam3_lite_text_text_model",
        "groups bytes into patches: its blocks run over patches and not over tokens": "blt",
        "cannot be made tiny: parts of it have sizes that its config does not name, or of hundreds of millions": (
            "dots3_note dots3_note_text phi4_multimodal"
        ),
        "its text decoder has no config of its own that the auto classes build, and it was not tried whole": (
            "deepseek_ocr2 ernie4_5_vl_moe granite4_vision kosmos-2.5 paddleocr_vl qwen2_5_omni qwen2_5_omni_thinker"
            " qwen3_omni_moe qwen3_omni_moe_thinker step3p7 t5gemma2 unlimited_ocr"
        ),
        "embeds pages as images beside text, with an embedding of low rank; not tried": "neomme",
    }.items()
    for name in names.split()
}

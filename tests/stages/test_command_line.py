"""What people type reaches the config as typed, whatever characters it holds."""

import os

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from layeratlas.stages.command_line import understood

K = ["k1", "k5", "k10"]


def value_of(argument: str):
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("k=5", "k.k=5"),
        ("k=5,10", "k.k=5,10"),
        ("k=k5", "k=k5"),
        ("k=k5,k10", "k=k5,k10"),
        ("kk=5", "kk=5"),
        ("k=-3", "k.k=-3"),
        ("k=1.5", "k.k=1.5"),
        ("k=abc", "k.k=abc"),
        ("k=[5,10]", "k.k=[5,10]"),
        ("k=null", "k.k=null"),
    ],
)
def test_whatever_is_no_file_of_conf_k_is_a_number_of_neighbours(typed, meant):
    assert understood([typed], K) == [meant]


NAMES = r"""
a b.jsonl|two  blanks.txt|[draft] x.jsonl|a=b.jsonl|日本語.jsonl|नमस्ते.txt|it's.csv|say "x".csv|a,b.csv|x{1}.txt|f(1).txt|ü:ß.txt
#1.txt|a;b.txt|a&b.txt|~x.txt|~/x.txt|!x.txt|100%.txt|a\b.txt|123|1e5|0x1F|true|nan|-1|[x]|x'|\|a\'b|<x>|`x`|a^b|(a)|{a: b}|𝔘.txt
"""


@pytest.mark.parametrize("name", NAMES.strip().replace("\n", "|").split("|"))
@pytest.mark.parametrize("key", ["dataset.path", "hydra.run.dir", "+dataset.mirror"])
def test_a_path_is_read_as_typed(key, name):
    (argument,) = understood([f"{key}={name}"])
    assert value_of(argument) == name


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("dataset.path='a b'", "a b"),
        ('dataset.path="a=b"', "a=b"),
        ("dataset.path=null", None),
        ("dataset.path=", ""),
        ("dataset.path=a\\=b", "a=b"),
        ("dataset.path=${oc.env:HOME}/x", "${oc.env:HOME}/x"),
        ("dataset.path=${oc.env:HOME}/日本 語", "${oc.env:HOME}/日本 語"),
        ("sweep_dir=[a,b]", ["a", "b"]),
        ("sweep_dir=[a b=1,日本]", ["a b=1", "日本"]),
        ("layers=[embed,block_3]", ["embed", "block_3"]),
        ("dataset.n=12", 12),
        ("seed=1e3", 1000.0),
        ("language@language_a=no", "no"),
        ("language@language_a=nan", "nan"),
        ("model_a.revision=1234567", "1234567"),
        ("model_a.revision=12e4567", "12e4567"),
        ("layers=[block_1", "[block_1"),
    ],
)
def test_what_hydra_reads_by_itself_stays_and_what_is_text_becomes_text(typed, value):
    (argument,) = understood([typed])
    assert value_of(argument) == value


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("model_a.id=a=1,b 2,日本", ["'a=1'", "b\\ 2", "'日本'"]),
        ("model_a.id=gpt2,2024", ["gpt2", "'2024'"]),
        ("model_a.id='a,b',c", ["'a,b'", "c"]),
        ("metric=mutual_knn,cka_linear", ["mutual_knn", "cka_linear"]),
        ("seed=1,2", ["1", "2"]),
    ],
)
def test_values_that_are_swept_are_read_one_by_one(typed, values):
    flag, argument = understood([typed, "-m"])
    assert flag == "-m"
    swept = OverridesParser.create().parse_override(argument)
    assert list(swept.sweep_string_iterator()) == values


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["k=3", "-m", "seed=1"], ["-m", "k.k=3", "seed=1"]),
        (["k=3", "--config-dir", "a b=1", "seed=1"], ["--config-dir", "a b=1", "k.k=3", "seed=1"]),
        (["seed=1", "--cfg", "job", "k=3", "-cn", "mine"], ["--cfg", "job", "-cn", "mine", "seed=1", "k.k=3"]),
        (["seed=1", "--config-dir=mine", "k=3"], ["--config-dir=mine", "seed=1", "k.k=3"]),
    ],
)
def test_options_may_stand_between_keys(typed, meant):
    assert understood(typed, K) == meant


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("--verbose", "--verbose: there is no such option (keys"),
        ("--metric=cka_linear", "--metric=cka_linear: there is no such option; did you mean metric=cka_linear? (keys"),
    ],
)
def test_an_option_that_there_is_not_is_one_line(command, capfd, typed, line):
    assert command(typed) == 2
    (said,) = capfd.readouterr().err.strip().splitlines()
    assert said == f"layeratlas: {line} are given as KEY=VALUE, without dashes; --help lists them)"


def test_a_name_that_is_no_text_is_refused_before_anything_is_computed(command, capfd):
    assert command("dataset=local", os.fsdecode(b"dataset.path=/x/\x93\xfa.csv")) == 2
    (said,) = capfd.readouterr().err.strip().splitlines()
    assert said.startswith(r"layeratlas: dataset.path: '/x/\udc93\udcfa.csv' is no text in utf-8; rename the file")


def test_a_glob_of_swept_groups_stays():
    assert understood(["-m", "language@language_b=glob([d*,hi])"]) == ["-m", "language@language_b=glob([d*,hi])"]


@pytest.mark.parametrize("argument", ["--help", "foo", "=x", "--config-dir=/a b=c", "@@=1 =2"])
def test_what_is_no_override_is_left_to_hydra(argument):
    assert understood([argument]) == [argument]

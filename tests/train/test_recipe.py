"""Recipes: every packaged one is valid and says where its numbers come from; what makes no sense is refused by name."""

import re
from pathlib import Path

import pytest

from copsd_bench.errors import CopsdError
from copsd_train.load_recipe import RECIPES, first_difference, load_recipe, recipe_names

SOURCES = re.compile(r"#.*\b(paper|code|ours|arXiv)\b")


@pytest.mark.parametrize("demo", [False, True], ids=["full", "demo"])
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid(name: str, demo: bool) -> None:
    recipe = load_recipe(name, demo=demo)
    assert recipe.name == name
    assert recipe.stages


def test_every_number_of_a_recipe_names_its_source() -> None:
    for path in RECIPES.glob("*.yaml"):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            key, _, value = ("" if line.startswith("#") else line).partition(":")
            sets_a_number = bool(re.match(r"\s*[-\d.]+|\s*\{.*\d", value.partition("#")[0]))
            assert not sets_a_number or SOURCES.search(line), f"{path.name}:{number} {key.strip()} has no source"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("distil.steps=1", "did you mean 'distill'"),
        ("distill.optimiser.lrr=1", "did you mean 'distill.optimiser.lr'"),
        ("rank=8", "did you mean 'lora.rank'"),
        ("distill.optimiser.lr=-1", "distill.optimiser.lr: Input should be greater than 0"),
        ("lora.targets=[lm_head]", "lm_head cannot carry a LoRA adapter"),
        ("lora.targets=[q_proj, embed_tokens]", "embed_tokens cannot carry a LoRA adapter"),
        ("lora.targets=[]", "targets is all-linear, or a list of module names such as [q_proj, v_proj], not []"),
        ("lora.targets=q_proj", "or a list of module names such as [q_proj, v_proj], not 'q_proj'"),
        ("corpus.rows={safety: -1}", "corpus.cross_sft.rows.safety: Input should be greater than or equal to 0"),
        ("distill.signal.clip=0.05", "clip belongs to kind: full"),
        ("distill.teacher.adapter=ema", "decay belongs to adapter: ema"),
        ("distill.teacher.adapter=none", None),
        ("distill.signal={kind: full}", "beta belongs to kind: full"),
        ("distill.signal={kind: full, beta: 1}", "signal.kind full does not go with advantage.kind token_group"),
        ("distill.signal={kind: full, beta: symetric}", "beta is a number from 0 to 1 or `symmetric`, not 'symetric'"),
        ("distill.signal={kind: full, beta: 1.5}", "beta is a number from 0 to 1 or `symmetric`, not 1.5"),
        ("distill.teacher={adapter: none, context: instruction}", "one text in instructions for each of kinds"),
        ("distill.teacher={context: gold, placement: user}", "placement belongs to context: constitution"),
        ("distill.teacher={context: none, masked: 0, placement: user}", "constitution, but context is none"),
        (
            "distill.teacher={context: instruction, placement: user, instructions: {safety: decline-absolute}}",
            "placement belongs to context: constitution, but context is instruction",
        ),
        ("distill.teacher.placement=system", "elsewhere than its fine-tuning did"),
        ("distill.outcome={judge: 'xstest:m', inverted: [general], sources: [a]}", "leave inverted out"),
        ("distill.signal.k=5", "k belongs to kind: topk"),
        ("distill.signal.low=9", "low must be below high"),
        ("distill.advantage.gamma=0.9", "gamma belongs to kind: return_to_go"),
        ("distill.advantage={kind: hybrid, lam: 0.3}", "needs an outcome: judge"),
        ("distill.outcome={judge: refusl, sources: [a]}", "Unknown judge 'refusl'; did you mean 'refusal'"),
        ("distill.outcome={judge: 'wildgard:m', sources: [a]}", "Unknown judge 'wildgard'; did you mean 'wildguard'"),
        ("distill.outcome={judge: 'vlguard:m', sources: [a]}", "is shown an image, which outcomes do not have"),
        ("distill.outcome={judge: refusal}", "outcome is used by no row"),
        ("distill.rollout.per_prompt=1", "per_prompt must be at least 2"),
        ("distill.minibatches=200", "minibatches cannot exceed prompts_per_step"),
        ("distill.rollout.engine=recorded", "file belongs to engine: recorded"),
        ("sft=null", "sft.data: corpus"),
        ("corpus=null", "there is no corpus stage"),
        ("tuning=full", "a teacher is trained as an adapter"),
        ("corpus.seed=3", "of the corpus are the recipe's own"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(change: str, sentence: str | None) -> None:
    if sentence is None:
        load_recipe("copsd", [change])
        return
    with pytest.raises(CopsdError) as caught:
        load_recipe("copsd", [change])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(CopsdError, match="Unknown recipe 'copsd-papr'; did you mean 'copsd-paper'"):
        load_recipe("copsd-papr")


def test_a_file_extends_a_recipe_and_a_new_kind_starts_its_section_anew(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: opsd-const\nname: mine\ndistill: {signal: {kind: full, beta: 0}, advantage: {kind: none}}\n"
    )
    recipe = load_recipe(str(file))
    assert recipe.distill is not None
    assert recipe.distill.signal.low is None
    assert recipe.distill.clip == 0.2


def test_the_order_of_changes_does_not_matter_and_the_last_value_counts() -> None:
    changes = ["distill.signal.tail=true", "distill.signal.kind=topk", "distill.signal.k=20", "distill.signal.beta=1"]
    forth, back = (
        load_recipe("opsd-full", order) for order in (["seed=1", *changes, "seed=2"], [*changes[::-1], "seed=2"])
    )
    assert forth == back
    assert forth.distill is not None
    assert forth.distill.signal.tail
    with pytest.raises(CopsdError, match="--set gives both corpus and keys inside it"):
        load_recipe("copsd", ["corpus=null", "corpus.kind=cross_sft"])


@pytest.mark.parametrize("demo", [False, True])
def test_a_file_that_cannot_be_a_recipe_is_refused_in_one_sentence(tmp_path: Path, demo: bool) -> None:
    file = tmp_path / "mine.yaml"
    for text, sentence in (
        (f"extends: {file}\nname: mine\n", "extends itself"),
        ("extends: copsd\ncorpus: cross_sft\n", "wrong at corpus: Input should be a valid dictionary"),
        ("name: mine\nabout: x\nlora: {rank: 1, alpha: 1}\ncorpus: null\nsft: null\n", "a recipe trains something"),
    ):
        file.write_text(text)
        with pytest.raises(CopsdError, match=sentence):
            load_recipe(str(file), demo=demo)


def test_numbers_are_read_as_people_write_them() -> None:
    recipe = load_recipe("opsd-const", ["distill.optimiser.lr=1e-5"])
    assert recipe.distill is not None
    assert recipe.distill.optimiser.lr == 1e-5


def test_the_first_difference_names_its_key() -> None:
    a, b = (load_recipe("copsd", [f"distill.optimiser.lr={lr}"]).model_dump(mode="json") for lr in (1e-5, 2e-5))
    assert first_difference(a, a) is None
    assert first_difference(a, b) == "distill.optimiser.lr was 1e-05 and is now 2e-05"

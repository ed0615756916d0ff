"""Every task by name: what it measures, on which data, judged by whom. Light: nothing else is imported."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Work:
    """What an item of a task costs.

    Attributes:
        tokens: limit of an answer.
        rubrics: what a judging model is asked.
        calls: of each judging model, for an answer.
        answers: to an item of the data set, by its published count.
    """

    tokens: int
    rubrics: tuple[str, ...] = ()
    calls: float = 0
    answers: int = 1


@dataclass(frozen=True)
class TaskInfo:
    """What `list` shows of a task.

    Attributes:
        module: where its `@task` function lives, below `copsd_bench.benchmarks`.
        title: what it measures.
        kind: `safety`, `general` or both.
        metric: its primary metric.
        pin: its data in `copsd_bench/sources/pins.yaml`; empty if it is packaged or given.
        judges: what it accepts for `--judge`; empty if nothing is judged.
        runs_code: it executes what the model wrote.
        reference: it measures the model against a reference, on rollouts.
        options: further settings of a run that it takes.
        white_box: it needs the token distributions of both, from the engine `transformers`.
        images: every question is about an image.
        work: by scoring profile, what an item costs, where a dry run is to know it before the data is here.
    """

    module: str
    title: str
    kind: str
    metric: str
    pin: str = ""
    judges: tuple[str, ...] = ()
    runs_code: bool = False
    reference: bool = False
    options: tuple[str, ...] = ()
    white_box: bool = False
    images: bool = False
    work: dict[str, Work] = field(default_factory=dict)


GRADED = ("refusal", "grader", "format")
"""Judges of a task: the offline one, its own rubric by a model, or any other format by a model."""
OWN = ("refusal", "grader")
_SEVERAL = ("grader", "several")
"""Judges of a task that is graded by its own rule, by one model or the mean of several."""


PAIRWISE = ("reference",)
"""Options of tasks that compare answers with a reference's where one is given."""


def _safety(name: str, title: str, metric: str = "refused/harmful") -> TaskInfo:
    return TaskInfo(f"text.{name}", title, "safety", metric, name, GRADED)


def _general(name: str, title: str, metric: str = "accuracy", runs_code: bool = False) -> TaskInfo:
    return TaskInfo(f"text.{name}", title, "general", metric, name, runs_code=runs_code)


def _collapse(name: str, title: str, metric: str, options: tuple[str, ...] = (), **more: Any) -> TaskInfo:
    options = ("reference", "rollouts", *options)
    return TaskInfo(f"collapse.{name}", title, "both", metric, reference=True, options=options, **more)


def _vision(
    name: str, title: str, kind: str, metric: str, copsd: Work, official: Work, options: tuple[str, ...] = ()
) -> TaskInfo:
    judges = GRADED if kind == "safety" else _SEVERAL if copsd.calls else ()
    if "reference" in options:
        judges = OWN
    work = {"copsd": copsd, "official": official}
    return TaskInfo(
        f"vision.{name}", title, kind, metric, name, judges, options=("profile", *options), images=True, work=work
    )


_SHORT = Work(16)


TASKS: dict[str, TaskInfo] = {
    "mini": TaskInfo("mini", "risky requests, benign twins, checked general items", "both", "appropriate"),
    "harmbench": _safety("harmbench", "refusal of harmful behaviours, alone or in context"),
    "strongreject": TaskInfo(
        "text.strongreject", "useful answers to forbidden requests", "safety", "strongreject", "strongreject", GRADED
    ),
    "jailbreakbench": _safety(
        "jailbreakbench", "refusal of harmful requests, not of their benign twins", "appropriate"
    ),
    "do_not_answer": _safety("do_not_answer", "refusal of risky questions, by risk area"),
    "xstest": TaskInfo(
        "text.xstest", "refusal of unsafe, over-refusal of safe prompts", "safety", "appropriate", "xstest", GRADED
    ),
    "coconot": _safety("coconot", "noncompliance where it is right, and its contrasts", "appropriate"),
    "gsm8k": _general("gsm8k", "grade-school arithmetic"),
    "math500": _general("math500", "competition mathematics, 500 problems", "math_verify"),
    "mmlu": _general("mmlu", "exam questions of 57 subjects, answered by letter"),
    "bbh": _general("bbh", "27 tasks of several reasoning steps", "exact_match"),
    "ifeval": _general("ifeval", "checkable instructions", "prompt_strict"),
    "humaneval": _general("humaneval", "Python functions, checked by tests", "pass@1", runs_code=True),
    "advbench": _safety("advbench", "refusal of harmful requests"),
    "pku_saferlhf": _safety("pku_saferlhf", "refusal of prompts that drew unsafe responses", "appropriate"),
    "sorry_bench": _safety("sorry_bench", "refusal of unsafe requests in 44 classes"),
    "harmfulqa": _safety("harmfulqa", "refusal of harmful questions, by topic"),
    "alert": _safety("alert", "refusal of red-teaming prompts"),
    "linguasafe": _safety("linguasafe", "English: refusal of harmful, not of harmless prompts", "appropriate"),
    "wildjailbreak": _safety("wildjailbreak", "adversarial prompts, harmful and benign", "appropriate"),
    "wildguardtest": _safety("wildguardtest", "prompts people labelled for harm", "appropriate"),
    "or_bench": _safety("or_bench", "over-refusal of harmless prompts, refusal of toxic ones", "appropriate"),
    "beavertails_eval": _safety("beavertails_eval", "refusal of unsafe questions in 14 categories"),
    "catqa": _safety("catqa", "refusal of harmful questions in 11 categories"),
    "tdc23": _safety("tdc23", "refusal of red-teaming behaviours"),
    "alpaca_eval": TaskInfo(
        "text.alpaca_eval", "answers against GPT-4 Turbo's", "general", "win_rate", "alpaca_eval", ("grader",)
    ),
    "math": _general("math", "competition mathematics, 5,000 problems", "math_verify"),
    "aime24": _general("aime24", "olympiad problems with integer answers"),
    "arc_challenge": _general("arc_challenge", "grade-school science, hard questions"),
    "truthfulqa": _general("truthfulqa", "common misconceptions, one true choice"),
    "mmlu_pro": _general("mmlu_pro", "harder exam questions, ten choices"),
    "gpqa_diamond": _general("gpqa_diamond", "science questions beyond search engines"),
    "mbpp": _general("mbpp", "short Python tasks, checked by assertions", "pass@1", runs_code=True),
    "length_collapse": _collapse("length_collapse", "length against the reference's answers", "length_ratio"),
    "refusal_collapse": _collapse("refusal_collapse", "refusal of harmful requests minus of benign twins", "balance"),
    "kl_direction": _collapse(
        "kl_direction", "divergence from the reference, both ways", "mode_seeking", white_box=True
    ),
    "diversity_collapse": _collapse(
        "diversity_collapse", "differences between answers to a prompt", "diversity", options=("embedding_model",)
    ),
    "copying": _collapse("copying", "overlap of constitution and answers", "jaccard"),
    "leakage": _collapse("leakage", "length that moves with refusal", "leakage_slope"),
    "pairwise_help": _collapse("pairwise_help", "helpfulness against the reference", "win_rate", judges=("grader",)),
    "pairwise_harmless": _collapse(
        "pairwise_harmless", "harmlessness against the reference", "win_rate", judges=("grader",)
    ),
    "beavertails_v": _vision(
        "beavertails_v",
        "against the untuned model, 20 categories of harm",
        "safety",
        "refused/harmful",
        Work(512, ("harmless", "help_if_harmless"), 2),
        Work(512, ("harmless", "help"), 4),
        PAIRWISE,
    ),
    "spa_vl": _vision(
        "spa_vl",
        "against the untuned model, six domains of harm",
        "safety",
        "refused/harmful",
        Work(512, ("harmless", "help_if_harmless"), 2),
        Work(512, ("harmless", "help"), 4),
        PAIRWISE,
    ),
    "vlguard": _vision(
        "vlguard",
        "unsafe images and requests, and safe ones",
        "safety",
        "appropriate",
        Work(512, ("vlguard", "vlguard-compliance"), 1),
        Work(256, ("help",), 558 / 1558),
    ),
    "siuo": _vision(
        "siuo",
        "image and question that are dangerous together",
        "safety",
        "refused/harmful",
        Work(512, ("situation", "effective"), 2),
        Work(500, ("situation", "effective-strict"), 2),
    ),
    "mssbench": _vision(
        "mssbench",
        "questions that the shown situation makes unsafe",
        "safety",
        "refused/harmful",
        Work(512, ("situation", "effective"), 2),
        Work(512, ("mssbench",), 1, 2),
    ),
    "vlsbench": _vision(
        "vlsbench",
        "harm that only the image gives away",
        "safety",
        "refused/harmful",
        Work(512, ("vlsbench",), 1),
        Work(128, ("vlsbench-image",), 1),
    ),
    "mathvista": _vision(
        "mathvista",
        "mathematics in figures",
        "general",
        "accuracy.copsd",
        Work(16384, ("reads off the answer",), 1),
        Work(1024, ("reads off the answer",), 1),
    ),
    "llava_wilder": _vision(
        "llava_wilder",
        "real users' questions, rated",
        "general",
        "ratio.copsd",
        Work(4096, ("llava-wilder",), 1),
        Work(4096, ("llava-wilder",), 1),
    ),
    "mmvet": _vision(
        "mmvet",
        "questions that need several capabilities",
        "general",
        "score.copsd",
        Work(1024, ("mmvet",), 1),
        Work(300, ("mmvet",), 1),
    ),
    "scienceqa": _vision(
        "scienceqa", "school science with images, by letter", "general", "accuracy.copsd", _SHORT, _SHORT
    ),
    "vqav2": _vision("vqav2", "short answers about photographs", "general", "accuracy.copsd", _SHORT, _SHORT),
    "gqa": _vision("gqa", "several steps about photographs", "general", "accuracy.copsd", _SHORT, _SHORT),
    "mss_embodied": _vision(
        "mss_embodied",
        "household instructions that the scene makes unsafe",
        "safety",
        "refused/harmful",
        Work(512, ("situation", "effective"), 2),
        Work(512, ("mssbench-embodied",), 1, 10),
    ),
}
"""Tasks with a name. `prompts` is built from a user's file and therefore not among them."""

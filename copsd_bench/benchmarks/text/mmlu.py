"""MMLU (Hendrycks et al. 2021, arXiv 2009.03300): exam questions of 57 subjects."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.solver import multiple_choice
from inspect_evals.mmlu.mmlu import record_to_sample_mmlu

from copsd_bench.benchmarks.choices import choice_task
from copsd_bench.sources.loader import load_subsets

VERSION = "2"


@task
def mmlu(constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy of the answered letter: inspect-evals' 0-shot samples and prompt; its 16 tokens, greedy.

    The model has to say the answer, so that one that refuses or rambles loses here; `lm_eval/mmlu@5` is the number by
    log-likelihoods.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_subsets("mmlu")
    unique: dict[str, Sample] = {}
    for record in loaded.records:
        sample = record_to_sample_mmlu({**record, "subject": record["subset"]})
        sample.metadata = {"category": record["subset"]}
        # 105 questions stand twice in the set; inspect-evals, too, keeps the first.
        unique.setdefault(str(sample.id), sample)
    # inspect-evals' solver would set its limit at each call, where no --max-tokens reaches it.
    questions, ask = list(unique.values()), multiple_choice()
    return choice_task("mmlu", VERSION, loaded, questions, ask, constitution, seed, max_tokens=16)

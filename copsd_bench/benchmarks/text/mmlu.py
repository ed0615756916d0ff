"""MMLU (Hendrycks et al. 2021, arXiv 2009.03300): exam questions of 57 subjects."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_evals.constants import GPT_5_MIN_TOKENS
from inspect_evals.mmlu.mmlu import mmlu_multiple_choice, record_to_sample_mmlu

from copsd_bench.benchmarks.choices import choice_task
from copsd_bench.sources.loader import load_subsets

VERSION = "1"


@task
def mmlu(constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy of the answered letter: inspect-evals' 0-shot samples and prompt; 16 tokens, greedy.

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
    ask = mmlu_multiple_choice(max_non_cot_tokens=GPT_5_MIN_TOKENS)
    return choice_task("mmlu", VERSION, loaded, list(unique.values()), ask, constitution, seed)

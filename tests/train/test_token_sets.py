"""Divergences on some tokens: their definitions, what becomes of the others, and where they are least."""

import math

import pytest
import torch

from copsd_train import losses, token_sets
from tests.train import naive
from tests.train.tensors import BETAS, Tensors, close, gradient


@pytest.mark.parametrize("variant", token_sets.OUTSIDE)
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, "symmetric"])
def test_divergence_on_some_tokens_is_its_definition(
    logits: Tensors, beta: losses.Beta, variant: token_sets.Variant
) -> None:
    outside = token_sets.OUTSIDE[variant]
    measure = naive.generalised if variant == "generalised" else naive.divergence

    def on_set(s: list[float], t: list[float], ids: list[int]) -> float:
        return measure(*(naive.restrict(naive.softmax(z), ids, outside) for z in (s, t)), beta)

    def on_top(s: list[float], t: list[float]) -> float:
        return on_set(s, t, sorted(range(7), key=lambda v: -s[v])[:3])

    chosen = torch.tensor([5, 1, 4])
    found = token_sets.token_set_divergence(*logits, chosen, beta, variant)
    close(found.detach(), naive.rows(lambda s, t: on_set(s, t, chosen.tolist()), *logits))
    if outside != "drop":
        top = token_sets.topk_divergence(*logits, 3, beta, tail=outside == "tail")
        close(top.detach(), naive.rows(on_top, *logits))


@pytest.mark.parametrize("variant", ["tail", "generalised", "renormalised"])
@pytest.mark.parametrize("beta", BETAS)
def test_the_clean_variants_are_nonnegative_and_rest_where_student_and_teacher_agree(
    logits: Tensors, beta: float, variant: token_sets.Variant
) -> None:
    student, teacher = logits
    chosen = torch.tensor([5, 1, 4])
    assert (token_sets.token_set_divergence(student, teacher, chosen, beta, variant) > 0).all()
    agreed = token_sets.token_set_divergence(student, student.detach().clone(), chosen, beta, variant)
    close(agreed, torch.zeros_like(agreed), rtol=0, atol=1e-15)
    close(gradient(agreed, student), torch.zeros_like(student), rtol=0, atol=1e-15)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("settings", [{}, {"tail": True}, {"support": "teacher"}, {"stop_gradient": True}], ids=str)
def test_the_top_of_the_whole_vocabulary_is_the_whole_divergence(
    logits: Tensors, beta: losses.Beta, settings: dict[str, bool]
) -> None:
    if settings.get("stop_gradient") and beta != 1:
        with pytest.raises(ValueError, match="stop_gradient"):
            token_sets.topk_divergence(*logits, 7, beta, **settings)  # type: ignore[arg-type]
        return
    whole, top = losses.divergence(*logits, beta), token_sets.topk_divergence(*logits, 7, beta, **settings)  # type: ignore[arg-type]
    close(top, whole)
    close(gradient(top, logits[0]), gradient(whole, logits[0]))


def test_a_truncated_reverse_kl_pulls_tokens_down_at_agreement_and_each_setting_of_ours_does_not(
    logits: Tensors,
) -> None:
    student, ids = logits[0], torch.tensor([[[0, 1]]]).expand(2, 3, 2)
    log_s = losses.log_softmax(student)
    kept = log_s.gather(-1, ids)
    truncated = (kept.exp() * (kept - kept.detach())).sum(-1)
    # The "+1": at p = q, where nothing is to learn, d/dz_v of sum p log(p/q) over the set is p_v (1 - mass of the set).
    expected = kept.exp() * (1 - kept.exp().sum(-1, keepdim=True))
    close(gradient(truncated, student).gather(-1, ids), expected)
    assert (expected > 1e-3).any()
    for settings in ({}, {"tail": True}, {"stop_gradient": True}, {"tail": True, "stop_gradient": True}):
        unbiased = token_sets.topk_divergence(student, student.detach().clone(), 2, 1.0, **settings)  # type: ignore[arg-type]
        close(gradient(unbiased, student), torch.zeros_like(student), rtol=0, atol=1e-12)


def test_stop_gradient_promotes_a_token_as_soon_as_the_teacher_prefers_it() -> None:
    """The biased loss (a set of one token, as it is) asks for e times the student's probability first."""
    student = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log().requires_grad_()
    for preference, stopped_sign, biased_sign in ((0.9, 1, 1), (1.1, -1, 1), (1.5, -1, 1)):
        teacher = torch.tensor([0.5 * preference, 1 - 0.5 * preference - 0.2, 0.2], dtype=torch.float64).log()
        stopped = token_sets.topk_divergence(student, teacher, 1, 1.0, stop_gradient=True)
        biased = token_sets.token_set_divergence(student, teacher, torch.tensor([0]))
        assert gradient(stopped, student)[0].sign() == stopped_sign
        assert gradient(biased, student)[0].sign() == biased_sign


def test_tail_and_stop_gradient_together_have_the_gradient_of_the_tail_alone(logits: Tensors) -> None:
    both, tail = (token_sets.topk_divergence(*logits, 3, 1.0, tail=True, stop_gradient=stop) for stop in (True, False))
    close(both, tail)
    close(gradient(both, logits[0]), gradient(tail, logits[0]))


def test_the_token_set_loss_is_least_at_the_teachers_probability_over_e() -> None:
    teacher = torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64)
    at = 0.3 / math.e
    student = torch.tensor([at, 0.6 - at, 0.4], dtype=torch.float64).log().requires_grad_()
    loss = token_sets.token_set_divergence(student, teacher.log(), torch.tensor([0]))
    assert loss < 0
    assert gradient(loss, student).abs().max() < 1e-15

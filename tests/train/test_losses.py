"""Losses equal their definitions, and their gradients are those of what they are named after."""

import math
import weakref
from collections.abc import Callable

import pytest
import torch

from copsd_train import losses, token_sets
from tests.train import naive

BETAS: list[losses.Beta] = [0.0, 0.1, 0.5, 0.9, 1.0, "symmetric"]
Tensors = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def logits() -> Tensors:
    """Student (with gradient) and teacher, [2, 3, 7] in float64, one entry impossible for both."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(2, 3, 7, dtype=torch.float64, generator=generator) for _ in range(2))
    student[..., 4] = teacher[..., 4] = -torch.inf
    return student.requires_grad_(), teacher.requires_grad_()


def gradient(value: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value.sum(), inputs)[0]


def close(a: torch.Tensor, b: torch.Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(a, b, **(tolerance or {"rtol": 1e-10, "atol": 1e-12}))


# divergences


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("beta", BETAS)
def test_divergence_is_its_definition(logits: Tensors, beta: losses.Beta, clip: float | None) -> None:
    def definition(s: list[float], t: list[float]) -> float:
        return naive.divergence(naive.softmax(s), naive.softmax(t), beta, math.inf if clip is None else clip)

    close(losses.divergence(*logits, beta, clip).detach(), naive.rows(definition, *logits))


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


def test_the_ends_are_torchs_kl_div_and_the_jsds_limits(logits: Tensors) -> None:
    finite = [z.index_select(-1, torch.tensor([0, 1, 2, 3, 5, 6])) / 3 for z in logits]
    student, teacher = (z.log_softmax(-1) for z in finite)
    forward, reverse = (losses.divergence(*finite, beta) for beta in (0.0, 1.0))
    close(forward, torch.nn.functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1))
    close(reverse, torch.nn.functional.kl_div(teacher, student, reduction="none", log_target=True).sum(-1))
    close(losses.divergence(*finite, "symmetric"), (forward + reverse) / 2)
    tiny = 1e-7
    close(losses.divergence(*finite, tiny) / tiny, forward, rtol=1e-4, atol=1e-4)
    close(losses.divergence(*finite, 1 - tiny) / tiny, reverse, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beta", BETAS)
def test_a_divergence_is_nonnegative_and_zero_with_no_gradient_where_both_agree(
    logits: Tensors, beta: losses.Beta
) -> None:
    assert (losses.divergence(*logits, beta) > 0).all()
    agreed = losses.divergence(logits[0], logits[0], beta)
    close(agreed, torch.zeros_like(agreed), rtol=0, atol=1e-15)
    close(gradient(agreed, logits[0]), torch.zeros_like(logits[0]), rtol=0, atol=1e-15)


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


def test_the_gate_opens_where_the_teacher_is_unsure() -> None:
    assert losses.entropy_gate(torch.tensor([0.1, 0.5, 0.9]), 0.5).tolist() == [False, False, True]


def test_no_gradient_reaches_the_teacher(logits: Tensors) -> None:
    student, teacher = logits
    ids = torch.zeros(2, 3, dtype=torch.long)
    values = [losses.divergence(student, teacher, beta) for beta in BETAS]
    values += [token_sets.topk_divergence(student, teacher, 3, 1.0, tail=tail) for tail in (True, False)]
    values += [token_sets.topk_divergence(student, teacher, 3, 1.0, stop_gradient=True, support="teacher")]
    values += [
        token_sets.token_set_divergence(student, teacher, torch.tensor([1, 2]), 1.0, v) for v in token_sets.OUTSIDE
    ]
    logprobs = losses.token_logprobs(student, ids)
    values += [losses.k3(logprobs, losses.token_logprobs(teacher, ids))]
    for value in values:
        assert value.requires_grad
        assert torch.autograd.grad(value.sum(), teacher, allow_unused=True, retain_graph=True) == (None,)
    assert not losses.sampled_reward(losses.token_logprobs(teacher, ids), logprobs).requires_grad


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_gradients_stay_finite_on_masked_vocabularies_and_peaked_distributions(beta: losses.Beta, scale: float) -> None:
    student, teacher = scale * torch.eye(5), scale * torch.eye(5).roll(1, dims=0)
    student[:, 4] = teacher[:, 4] = -torch.inf
    student.requires_grad_()
    for value in (
        losses.divergence(student, teacher, beta),
        losses.divergence(student, teacher, beta, clip=0.05),
        token_sets.topk_divergence(student, teacher, 2, beta, tail=True),
        token_sets.topk_divergence(student, teacher, 2, beta),
        *(token_sets.token_set_divergence(student, teacher, torch.tensor([0, 4]), beta, v) for v in token_sets.OUTSIDE),
    ):
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient(value, student)).all()


def test_half_precision_is_computed_with_in_float32() -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(4, 4096, generator=generator).bfloat16() for _ in range(2))
    for beta in BETAS:
        found = losses.divergence(student, teacher, beta)
        assert found.dtype == torch.float32
        close(found, losses.divergence(student.double(), teacher.double(), beta).float(), rtol=1e-5, atol=1e-6)
    assert losses.token_logprobs(student, torch.zeros(4, dtype=torch.long)).dtype == torch.float32


# chunks


@pytest.mark.parametrize("trained", [False, True], ids=["frozen head", "trained head"])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, "symmetric"])
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_chunks_change_neither_value_nor_gradient(beta: losses.Beta, chunk: int, trained: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    states, teacher_states = (torch.randn(2, 3, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    weights = torch.rand(2, 3, dtype=torch.float64, generator=generator)
    states.requires_grad_(), teacher_states.requires_grad_()
    student_head, teacher_head = (torch.nn.Linear(5, 11, dtype=torch.float64) for _ in range(2))
    student_head.requires_grad_(trained)
    plain = losses.divergence(student_head(states), teacher_head(teacher_states), beta, clip=0.4)
    found = losses.chunked_divergence(states, student_head, teacher_states, teacher_head, beta, chunk, clip=0.4)
    close(found, plain)
    inputs = [states, *(student_head.parameters() if trained else [])]
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), inputs), torch.autograd.grad((plain * weights).sum(), inputs),
        strict=True,
    ):  # fmt: skip
        close(ours, theirs)
    again = losses.chunked_divergence(states, student_head, teacher_states, teacher_head, beta, chunk)
    others = [teacher_states, *teacher_head.parameters(), *([] if trained else student_head.parameters())]
    others = [tensor for tensor in others if tensor.requires_grad]
    assert set(torch.autograd.grad(again.sum(), others, allow_unused=True)) == {None}


def test_any_loss_of_one_position_can_be_chunked_and_under_no_grad_nothing_is_kept() -> None:
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(7, 5, dtype=torch.float64, generator=generator).requires_grad_()
    head = torch.nn.Linear(5, 11, dtype=torch.float64).requires_grad_(False)
    ids = torch.arange(7)
    plain, found = losses.token_logprobs(head(states), ids), losses.chunked_logprobs(states, head, ids, chunk=3)
    close(found, plain)
    close(gradient(found, states), gradient(plain, states))
    with torch.no_grad():
        assert not losses.chunked_logprobs(states, head, ids).requires_grad
    assert losses.chunked_logprobs(states[:0], head, ids[:0]).shape == (0,)


def test_a_position_without_weight_gives_no_gradient_even_where_its_own_is_not_finite() -> None:
    states = torch.ones(3, 2, dtype=torch.float64)
    states[2] = torch.nan
    states.requires_grad_()
    head = torch.nn.Linear(2, 4, dtype=torch.float64).requires_grad_(False)
    values = losses.chunked_logprobs(states, head, torch.zeros(3, dtype=torch.long))
    found = gradient(losses.token_mean(values, torch.tensor([True, True, False])), states)
    assert torch.isfinite(found[:2]).all()
    assert (found[2] == 0).all()


@pytest.mark.parametrize("trained", [False, True], ids=["frozen head", "trained head"])
def test_logits_kept_for_backward_do_not_grow_with_the_number_of_tokens(trained: bool) -> None:
    vocabulary, chunk = 997, 8
    head = torch.nn.Linear(4, vocabulary).requires_grad_(trained)
    alive: weakref.WeakSet[Kept] = weakref.WeakSet()
    counts: list[int] = []

    def keep(tensor: torch.Tensor) -> Kept:
        kept = Kept(tensor)
        if tensor.shape[-1:] == (vocabulary,) and tensor.data_ptr() != head.weight.data_ptr():
            alive.add(kept)
            counts.append(sum(other.tensor.shape[0] for other in alive))
        return kept

    def peak(tokens: int, chunked: bool) -> int:
        states, teacher_states = torch.randn(tokens, 4, requires_grad=True), torch.randn(tokens, 4)
        alive.clear()
        counts[:] = [0]
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
            if chunked:
                values = losses.chunked_divergence(states, head, teacher_states, head, 0.5, chunk)
            else:
                values = losses.divergence(head(states), head(teacher_states), 0.5)
            values.sum().backward()
        return max(counts)

    assert peak(80, chunked=True) <= peak(16, chunked=True)
    assert peak(80, chunked=False) == 5 * peak(16, chunked=False) > 0


class Kept:
    """A tensor that some graph keeps for backward."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


# sampled tokens


@pytest.mark.parametrize("teacher_scale", [1.0, 3.0])
def test_the_policy_gradient_of_the_sampled_reward_is_minus_that_of_reverse_kl(teacher_scale: float) -> None:
    """Enumerated over the vocabulary: E_{v ~ p_S}[r(v) grad log p_S(v)] = -grad KL(student||teacher)."""
    generator = torch.Generator().manual_seed(4)
    student = torch.randn(9, dtype=torch.float64, generator=generator).requires_grad_()
    teacher = teacher_scale * torch.randn(9, dtype=torch.float64, generator=generator)
    log_s, log_t = losses.log_softmax(student), losses.log_softmax(teacher)
    reward = losses.sampled_reward(log_t, log_s, None, None)
    loss, clipped = losses.policy_loss(log_s, log_s, reward)
    expected_loss = (log_s.detach().exp() * loss).sum()  # each token with the probability of being sampled
    close(gradient(expected_loss, student), gradient(losses.divergence(student, teacher, 1.0), student))
    assert not clipped.any()


def test_the_reward_is_teacher_minus_student_clipped_unevenly() -> None:
    teacher, student = torch.tensor([-1.0, -9.0, -0.1]), torch.tensor([-2.0, -1.0, -9.0])
    assert losses.sampled_reward(teacher, student).tolist() == [1.0, -3.0, 5.0]
    assert losses.sampled_reward(teacher, student, None, 5.0).tolist() == [1.0, -8.0, 5.0]
    close(losses.sampled_reward(teacher, student, None, None), teacher - student)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [(1.0, 2.0, -2.0, False), (1.1, 2.0, -2.2, False), (1.5, 2.0, -2.4, True), (0.5, 2.0, -1.0, False),
     (0.5, -2.0, 1.6, True), (1.5, -2.0, 3.0, False), (1.5, 0.0, 0.0, False)],
)  # fmt: skip
def test_the_surrogate_stops_paying_outside_the_clip(
    ratio: float, advantage: float, loss: float, clipped: bool
) -> None:
    logprob = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    found, flags = losses.policy_loss(logprob, torch.zeros_like(logprob), torch.tensor([advantage]).double())
    close(found.detach(), torch.tensor([loss], dtype=torch.float64))
    assert flags.tolist() == [clipped]
    assert gradient(found, logprob).item() == pytest.approx(0.0 if clipped else -ratio * advantage)


def test_k3_is_unbiased_never_negative_and_pulls_towards_the_reference() -> None:
    generator = torch.Generator().manual_seed(5)
    student, reference = (torch.randn(9, dtype=torch.float64, generator=generator) for _ in range(2))
    log_s, log_r = losses.log_softmax(student), losses.log_softmax(reference)
    estimate = losses.k3(log_s, log_r)
    assert (estimate >= 0).all()
    close((log_s.exp() * estimate).sum(), losses.divergence(student, reference, 1.0))
    apart = log_s.detach().requires_grad_()
    assert (gradient(losses.k3(apart, log_r), apart).sign() == (apart - log_r).sign()).all()


# reduction


def test_parts_divided_by_the_whole_batchs_count_add_up_to_the_whole_mean() -> None:
    values = torch.arange(12.0, dtype=torch.float64).reshape(4, 3).requires_grad_()
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]]).bool()
    whole = losses.token_mean(values, mask)
    parts = [losses.token_mean(values[i : i + 1], mask[i : i + 1], mask.sum()) for i in range(4)]
    close(torch.stack(parts).sum(), whole)
    close(gradient(torch.stack(parts), values), gradient(whole, values))


def test_what_is_masked_out_counts_neither_in_value_nor_in_gradient() -> None:
    values = torch.tensor([1.0, torch.nan, torch.inf, 3.0], requires_grad=True)
    mask = torch.tensor([True, False, False, True])
    mean: Callable[[], torch.Tensor] = lambda: losses.token_mean(values, mask)  # noqa: E731
    assert mean().item() == 2.0
    assert gradient(mean(), values).tolist() == [0.5, 0.0, 0.0, 0.5]
    assert losses.token_mean(values, torch.zeros(4).bool()).item() == 0.0
